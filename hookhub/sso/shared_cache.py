"""The cache that django-allauth counts wrong codes with, in PostgreSQL, so that all web processes count together.

Django's own cache in a database stores pickles, with which a program that may only write to the database could run code
here. A cache of each process would accept a code once in each, and five wrong ones in each.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from deliveries import timezone
from deliveries.db import sql

# What allauth stores is of use for five minutes.
MAX_AGE = timedelta(days=1)
# Each write deletes as many rows that have expired, so that there are never many.
EXPIRED_ROWS = 20

# The condition makes a value that has expired one that is not there.
ADD = """
WITH expired AS (
    DELETE FROM hookhub_login_cache WHERE key IN (
        SELECT key FROM hookhub_login_cache WHERE expires_at <= %(now)s AND key <> %(key)s
        ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO hookhub_login_cache AS known (key, value, expires_at)
VALUES (%(key)s, %(value)s::jsonb, %(expires_at)s)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
    WHERE %(replaces)s OR known.expires_at <= %(now)s
"""
GET = "SELECT value::text FROM hookhub_login_cache WHERE key = %(key)s AND expires_at > %(now)s"
DELETE = "DELETE FROM hookhub_login_cache WHERE key = %(key)s AND expires_at > %(now)s"
CLEAR = "DELETE FROM hookhub_login_cache"


class SharedCache(BaseCache):
    """Keeps JSON values by key until they expire, at most for a day."""

    def __init__(self, _location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, key: str, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Store a value unless there is one; return whether it was stored. Of two at once, one is."""
        return self._write(key, value, timeout, version, replaces=False)

    def set(self, key: str, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Store a value."""
        self._write(key, value, timeout, version, replaces=True)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        """Return the value of a key, or the default."""
        rows = sql.run(GET, {"key": self.make_and_validate_key(key, version=version), "now": timezone.now()})
        return json.loads(rows[0][0]) if rows else default

    def delete(self, key: str, version: int | None = None) -> bool:
        """Delete a key; return whether it had a value."""
        given = {"key": self.make_and_validate_key(key, version=version), "now": timezone.now()}
        return bool(sql.change(DELETE, given))

    def clear(self) -> None:
        """Delete everything."""
        sql.change(CLEAR, {})

    def _write(self, key: str, value: Any, timeout: float | None, version: int | None, *, replaces: bool) -> bool:
        now = timezone.now()
        latest = now + MAX_AGE
        until = self.get_backend_timeout(timeout)
        given = {
            "key": self.make_and_validate_key(key, version=version),
            "value": json.dumps(value),
            "expires_at": latest if until is None else min(datetime.fromtimestamp(until, UTC), latest),
            "now": now,
            "replaces": replaces,
            "limit": EXPIRED_ROWS,
        }
        return bool(sql.change(ADD, given))

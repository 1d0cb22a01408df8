"""Health checks: whether this deployment can accept events, and whether a worker is alive to deliver them."""

import logging
from typing import Any

from django.db import Error, connection

from deliveries import workers
from deliveries.db import sql

log = logging.getLogger("hookhub.api")


def live() -> tuple[int, dict[str, Any]]:
    """Return the status and the body of `/healthz`: 200 whenever the process responds."""
    return 200, {"status": "ok"}


def ready() -> tuple[int, dict[str, Any]]:
    """Return the status and the body of `/readyz`: 200 if the database is writable, else 503.

    A missing worker is only a warning: events are stored and wait, so the web server must stay in service.
    """
    try:
        sql.require_writable()
    except Error as error:
        # Close it, so that the next check opens a new connection.
        connection.close()
        log.warning("Cannot accept events: %s", error)
        return unavailable()
    return 200, {"status": "ok", **report_on_workers()}


def unavailable() -> tuple[int, dict[str, Any]]:
    """Return the status and the body of `/readyz` while the database does not answer or is not writable."""
    return 503, {"status": "unavailable", "reason": "the database is unavailable or read-only"}


def report_on_workers() -> dict[str, Any]:
    """Return how many workers are alive and when one was last seen, with a warning if none is alive."""
    try:
        found = workers.seen(now=sql.database_now())
    except Error as error:
        # Events can be stored without this count, and it is not what detects a database outage.
        connection.close()
        log.warning("Could not count the workers: %s", error)
        return {"workers": None}
    seen_at = found.seen_at.isoformat() if found.seen_at else None
    report: dict[str, Any] = {"workers": {"alive": found.alive, "seen_at": seen_at}}
    if found.alive:
        return report
    since = f"No worker is running. The last one was seen at {seen_at}." if seen_at else "No worker has started yet."
    return {**report, "warning": f"{since} Events are only stored. Start a worker with `manage.py run worker`."}

"""Authentication by API key: `Authorization: Bearer hh_<id>_<secret>`, or `X-Api-Key` as Coregit's clients send it."""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from deliveries import audit, timezone
from deliveries.db import sql
from deliveries.db.lookups import Lookup
from hookhub.http.access_log import name_caller
from hookhub.http.actors import actor_of_key
from hookhub.http.client_address import address_of
from hookhub.http.networks import contains
from hookhub.key_text import KEY, is_mistyped
from hookhub.models import ApiKey, digest
from hookhub.row_cache import RowCache

log = logging.getLogger("hookhub.api")

# Often enough to show which keys are in use, seldom enough not to write on every request.
LAST_USED_EVERY = timedelta(minutes=1)
RECORD_USE = """
UPDATE hookhub_api_key SET last_used_at = %(now)s
WHERE id = %(key)s AND (last_used_at IS NULL OR last_used_at < %(stale)s)
"""

UNKNOWN = "This API key is unknown or has been revoked. Create one with `manage.py create_api_key`."
MISTYPED = "This API key is incomplete or mistyped (invalid checksum). Copy the whole key."


class KeyHolder(AnonymousUser):
    """The user of a request that was authenticated by an API key and so belongs to no person."""

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]  # django-stubs pins it to False
        """Return True, because the key was verified."""
        return True


class KeyAuthentication(BaseAuthentication):
    """Authenticates requests that carry a valid API key."""

    def authenticate(self, request: Request) -> tuple[KeyHolder, ApiKey] | None:
        """Return the key holder and the key, or None if the request has no header for a key."""
        found = self.read_request(request)
        if found is None:
            return None
        key_id, secret = found
        key = verified(find(key_id), secret, environ=request.META, now=timezone.now())
        audit.identify(lambda: actor_of_key(key, request))
        name_caller(request.META, key)
        return KeyHolder(), key

    def read_request(self, request: Request) -> tuple[str, str] | None:
        """Return the id and the secret of the request's key, or None without one; raise AuthenticationFailed."""
        header = request.headers.get("Authorization", "")
        if not header and (bare := request.headers.get("X-Api-Key", "")):
            header = f"Bearer {bare}"
        return read_header(header) if header else None

    def authenticate_header(self, request: Request) -> str:
        """Return the WWW-Authenticate header, with which a missing key is a 401 and not a 403."""
        return 'Bearer realm="hookhub"'


def read_header(header: str) -> tuple[str, str]:
    """Return the id and the secret in an Authorization header; raise AuthenticationFailed if it holds no key."""
    key_id, secret = read_header_unchecked(header)
    require_checksum(key_id, secret)
    return key_id, secret


def read_header_unchecked(header: str) -> tuple[str, str]:
    """Return what ``read_header`` does, without computing the checksum, which the right secret has in any case."""
    scheme, _, text = header.partition(" ")
    found = KEY.fullmatch(text.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise AuthenticationFailed("Send your API key in the header `Authorization: Bearer hh_…`.")
    return found["id"], found["secret"]


def read_key(text: str) -> tuple[str, str] | None:
    """Return the id and the secret in a key's text, or None for other text; raise AuthenticationFailed if mistyped."""
    found = KEY.fullmatch(text)
    if found is None:
        return None
    require_checksum(found["id"], found["secret"])
    return found["id"], found["secret"]


def require_checksum(key_id: str, secret: str) -> None:
    """Raise AuthenticationFailed for a mistyped key, before the database is queried for it."""
    if is_mistyped(key_id, secret):
        raise AuthenticationFailed(MISTYPED)


def find(key_id: str) -> ApiKey | None:
    """Return the key with this id and its organization from the database, or None if it is unknown or revoked."""
    return _key_by_id(key_id=key_id)


_key_by_id = Lookup(
    lambda key_id: ApiKey.objects.select_related("organization").filter(key_id=key_id, revoked_at=None), "key_id"
)


_cached_keys = RowCache[str, ApiKey]()


def remembered_key(key_id: str, *, now: datetime) -> ApiKey | None:
    """Return the key from the cache, or None; like ``cached_key``, but without a query."""
    return _cached_keys.get(key_id, now=now)


def cached_key(key_id: str, *, now: datetime) -> ApiKey | None:
    """Return what ``find`` does, from a cache of a few seconds; requests share the key, so treat it as read-only."""
    key = _cached_keys.get(key_id, now=now)
    if key is not None:
        return key
    generation = _cached_keys.generation
    if (key := find(key_id)) is not None:
        _cached_keys.put(key_id, key, now=now, generation=generation)
    return key


def invalidate(key_id: str) -> None:
    """Drop a changed or revoked key from this process's cache."""
    _cached_keys.evict(key_id)


def invalidate_organization(organization_id: int) -> None:
    """Drop the keys of a changed or deleted organization from this process's cache."""
    _cached_keys.evict_where(lambda _, key: key.organization_id == organization_id)


def invalidate_all() -> None:
    """Clear this process's cache of keys."""
    _cached_keys.clear()


def verified(key: ApiKey | None, secret: str, *, environ: Mapping[str, str] | None, now: datetime) -> ApiKey:
    """Return the key if the secret is right and the key may be used at this time and from this address; record its use.

    Raise AuthenticationFailed otherwise, or PermissionDenied for an address outside of the key's networks. Without
    its ``environ`` the address is not checked.
    """
    # Hash in any case, so that an unknown id takes as long as a wrong secret.
    hashed = digest(secret)
    if key is None or not key.is_secret(hashed, now=now):
        raise AuthenticationFailed(UNKNOWN)
    if key.expires_at is not None and key.has_expired(now=now):
        raise AuthenticationFailed(
            f"This API key expired at {key.expires_at:%Y-%m-%dT%H:%M:%SZ}. Roll it with a new expires_at, "
            "or create another."
        )
    if key.allowed_networks and environ is not None:
        _require_address(key, address_of(environ))
    if not is_use_recorded(key, now=now):
        # Set first in memory, for other threads that share the cached key; the query's filter does the same for other
        # processes.
        key.last_used_at = now
        try:
            sql.change(RECORD_USE, {"key": key.pk, "now": now, "stale": now - LAST_USED_EVERY})
        except OperationalError as error:
            # A database that is read-only at the moment can still serve reads, so this is no reason to fail.
            log.warning("Could not record the use of API key %s: %s", key.key_id, error)
    return key


def is_use_recorded(key: ApiKey, *, now: datetime) -> bool:
    """Return whether the key's last use is recorded recently enough, so that ``verified`` writes nothing."""
    return key.last_used_at is not None and now - key.last_used_at <= LAST_USED_EVERY


def _require_address(key: ApiKey, address: str) -> None:
    if not contains(key.allowed_networks, address):
        raise PermissionDenied(
            f"This API key cannot be used from {address or 'this address'}: its allowed_networks do not contain it."
        )


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular's own
    """Describes authentication by API key in the OpenAPI document."""

    target_class = "hookhub.http.authentication.KeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """Return the security scheme in the form that OpenAPI defines."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "hh_<id>_<secret>"}

"""API keys at the door: `Authorization: Bearer hh_<id>_<secret>`, or `X-Api-Key` as Coregit's clients have it."""

import logging
from datetime import datetime, timedelta

from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from deliveries import audit
from hookhub.actors import actor_of_key
from hookhub.client_address import address_of
from hookhub.key_text import KEY, is_mistyped
from hookhub.models import ApiKey, digest
from hookhub.networks import contains
from hookhub.remembering import Memory
from hookhub.request_log import name_caller

log = logging.getLogger("hookhub.api")

# Often enough to see which keys are in use, seldom enough not to write on every request.
LAST_USED_EVERY = timedelta(minutes=1)

UNKNOWN = "This API key is unknown or has been revoked. Make one with `manage.py create_api_key`."
MISTYPED = "This API key is incomplete or mistyped: its checksum is wrong. Copy the whole key."


class KeyHolder(AnonymousUser):
    """Whoever came with a valid key: no person, yet let in."""

    @property
    def is_authenticated(self) -> bool:  # type: ignore[override]  # django-stubs pins it to False
        """Let in."""
        return True


class KeyAuthentication(BaseAuthentication):
    """Lets in whoever brings a key that is not revoked."""

    def authenticate(self, request: Request) -> tuple[KeyHolder, ApiKey] | None:
        """Give the key's holder and the key, or None when there is no header with one at all."""
        header = request.headers.get("Authorization", "")
        if not header and (bare := request.headers.get("X-Api-Key", "")):
            header = f"Bearer {bare}"
        if not header:
            return None
        key_id, secret = read_header(header)
        key = verified(find(key_id), secret, request=request, now=timezone.now())
        audit.identify(lambda: actor_of_key(key, request))
        name_caller(request.META, key)
        return KeyHolder(), key

    def authenticate_header(self, request: Request) -> str:
        """Have a missing key answered with 401."""
        del request
        return 'Bearer realm="hookhub"'


def read_header(header: str) -> tuple[str, str]:
    """Give the id and the secret that an Authorization header holds; raises AuthenticationFailed."""
    scheme, _, text = header.partition(" ")
    found = read_key(text.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise AuthenticationFailed("Send the header `Authorization: Bearer hh_…` with your API key.")
    return found


def read_key(text: str) -> tuple[str, str] | None:
    """Return the id and the secret of a key's text, or None for another text; raises AuthenticationFailed."""
    found = KEY.fullmatch(text)
    if found is None:
        return None
    # Before the database is asked for it.
    if is_mistyped(found["id"], found["secret"]):
        raise AuthenticationFailed(MISTYPED)
    return found["id"], found["secret"]


def find(key_id: str) -> ApiKey | None:
    """Give the key with this id unless it is revoked, with its organization, as the database has it now."""
    return ApiKey.objects.select_related("organization").filter(key_id=key_id, revoked_at=None).first()


_remembered = Memory[str, ApiKey]()


def find_or_recall(key_id: str, *, now: datetime) -> ApiKey | None:
    """Give the same, at most a few seconds old; treat it as read-only, for many requests share it."""
    key = _remembered.recall(key_id, now=now)
    if key is not None:
        return key
    generation = _remembered.generation
    if (key := find(key_id)) is not None:
        _remembered.learn(key_id, key, now=now, generation=generation)
    return key


def forget(key_id: str) -> None:
    """Have a key that was revoked open nothing more in this process."""
    _remembered.forget(key_id)


def forget_organization(organization_id: int) -> None:
    """Forget the keys of an organization that has changed or is gone, in this process."""
    _remembered.forget_where(lambda _, key: key.organization_id == organization_id)


def forget_all() -> None:
    """Forget every key, in this process."""
    _remembered.clear()


def verified(key: ApiKey | None, secret: str, *, request: HttpRequest | Request | None, now: datetime) -> ApiKey:
    """Return the key if this is its secret and it may be used now and from there, and record its use.

    Raises AuthenticationFailed, and PermissionDenied for an address outside of the key's networks; without a request
    the address is not looked at.
    """
    # Hashed in any case, so that an unknown id takes as long as a wrong secret.
    hashed = digest(secret)
    if key is None or not key.is_secret(hashed, now=now):
        raise AuthenticationFailed(UNKNOWN)
    if key.expires_at is not None and key.has_expired(now=now):
        raise AuthenticationFailed(
            f"This API key expired at {key.expires_at:%Y-%m-%dT%H:%M:%SZ}. Roll it with a new expires_at, "
            "or create another."
        )
    if key.allowed_networks and request is not None:
        _require_address(key, address_of(request.META))
    if key.last_used_at is None or now - key.last_used_at > LAST_USED_EVERY:
        # First here, so that other threads with the same key in hand see it done; the database tells other processes.
        key.last_used_at = now
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_EVERY)
        try:
            ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
        except OperationalError as error:
            # A database that only answers questions is no reason to answer none.
            log.warning("The use of the key %s is not noted: %s", key.key_id, error)
    return key


def _require_address(key: ApiKey, address: str) -> None:
    if not contains(key.allowed_networks, address):
        raise PermissionDenied(
            f"This API key may not be used from {address or 'here'}; its allowed_networks do not contain this address."
        )


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular's own
    """Tells the OpenAPI document how to come in."""

    target_class = "hookhub.api.authentication.KeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """Give the scheme as OpenAPI has it."""
        del auto_schema
        return {"type": "http", "scheme": "bearer", "bearerFormat": "hh_<id>_<secret>"}

"""API keys at the door: `Authorization: Bearer hh_<id>_<secret>`, or `X-Api-Key` as Coregit's clients have it."""

import hmac
import logging
import re
from datetime import datetime, timedelta

from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from deliveries import audit
from hookhub.actors import actor_of_key
from hookhub.models import ApiKey, digest
from hookhub.remembering import Memory

log = logging.getLogger("hookhub.api")

KEY = re.compile(r"hh_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9-]{20,100})")
# Often enough to see which keys are in use, seldom enough not to write on every request.
LAST_USED_EVERY = timedelta(minutes=1)

UNKNOWN = "This API key is unknown or has been revoked. Make one with `manage.py create_api_key`."


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
        key = verified(find(key_id), secret, now=timezone.now())
        audit.identify(lambda: actor_of_key(key, request))
        return KeyHolder(), key

    def authenticate_header(self, request: Request) -> str:
        """Have a missing key answered with 401."""
        del request
        return 'Bearer realm="hookhub"'


def read_header(header: str) -> tuple[str, str]:
    """Give the id and the secret that an Authorization header holds; raises AuthenticationFailed."""
    scheme, _, text = header.partition(" ")
    found = KEY.fullmatch(text.strip())
    if scheme.lower() != "bearer" or found is None:
        raise AuthenticationFailed("Send the header `Authorization: Bearer hh_…` with your API key.")
    return found["id"], found["secret"]


def find(key_id: str) -> ApiKey | None:
    """Give the key with this id unless it is revoked, with its organization, as the database has it now."""
    return ApiKey.objects.select_related("organization").filter(key_id=key_id, revoked_at=None).first()


_remembered = Memory[str, ApiKey]()


def find_or_recall(key_id: str, *, now: datetime) -> ApiKey | None:
    """Give the same, at most a few seconds old; treat it as read-only, for many requests share it."""
    key = _remembered.recall(key_id, now=now)
    if key is None and (key := find(key_id)) is not None:
        _remembered.learn(key_id, key, now=now)
    return key


def forget(key_id: str) -> None:
    """Have a key that was revoked open nothing more in this process."""
    _remembered.forget(key_id)


def verified(key: ApiKey | None, secret: str, *, now: datetime) -> ApiKey:
    """Give the key if this is its secret, and note that it was used; raises AuthenticationFailed."""
    # Compared in any case, so that an unknown id takes as long as a wrong secret.
    kept = bytes(key.secret_hash) if key else b""
    if not hmac.compare_digest(kept, digest(secret)) or key is None:
        raise AuthenticationFailed(UNKNOWN)
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


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular's own
    """Tells the OpenAPI document how to come in."""

    target_class = "hookhub.api.authentication.KeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """Give the scheme as OpenAPI has it."""
        del auto_schema
        return {"type": "http", "scheme": "bearer", "bearerFormat": "hh_<id>_<secret>"}

"""Changes to existing API keys: name, expiry, networks, and a new secret with an overlap for the old one."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from deliveries import audit
from deliveries.webhooks import mcp_subscribing
from deliveries.webhooks.fields import InvalidFields
from hookhub import key_text
from hookhub.models import ApiKey, digest

CHANGEABLE = ("name", "expires_at", "allowed_networks")
MAX_OVERLAP = timedelta(days=30)


def expiry_error(expires_at: datetime | None, *, now: datetime) -> str | None:
    """Return why a key cannot have this expiry, or None if it can."""
    if expires_at is not None and expires_at <= now:
        return "must be in the future"
    return None


def change(key: ApiKey, changes: Mapping[str, object], *, now: datetime) -> ApiKey:
    """Change a key's name, expiry or allowed networks and return the key.

    Raise InvalidFields if the key is revoked and more than its name is to change.
    """
    with transaction.atomic():
        found = _locked(key, for_more_than_its_name=changes.keys() != {"name"})
        before = found.as_state()
        for name in CHANGEABLE:
            if name in changes:
                setattr(found, name, changes[name])
        written = [name for name in CHANGEABLE if name in changes]
        if "expires_at" in changes:
            found.expiry_warned_at = None
            written.append("expiry_warned_at")
            if found.expires_at is not None:
                mcp_subscribing.end_by(found.key_id, until=found.expires_at, now=now)
        if written:
            found.save(update_fields=written)
        target = found.as_target()
        audit.record_update("api_key.updated", target=target, before=before, after=found.as_state(), now=now)
    return found


def roll(
    key: ApiKey, *, now: datetime, overlap: timedelta | None = None, expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """Replace a key's secret and return the key with its new text.

    The old secret is accepted for ``overlap`` longer (default HOOKHUB_SECRET_OVERLAP, zero for not at all); one from an
    earlier roll ends at once. Raise InvalidFields if the key is revoked, or if it has expired and gets no new expiry.
    """
    overlap = settings.HOOKHUB_SECRET_OVERLAP if overlap is None else overlap
    with transaction.atomic():
        found = _locked(key)
        if expires_at is None and found.has_expired(now=now):
            raise InvalidFields({"expires_at": "is required because the key has expired"})
        before = found.as_state()
        secret = key_text.new_secret(found.key_id)
        found.previous_secret_hash = bytes(found.secret_hash) if overlap else None
        found.previous_secret_expires_at = now + overlap if overlap else None
        found.secret_hash, found.rolled_at = digest(secret), now
        if expires_at is not None:
            found.expires_at, found.expiry_warned_at = expires_at, None
            mcp_subscribing.end_by(found.key_id, until=expires_at, now=now)
        found.save(
            update_fields=[
                "secret_hash", "previous_secret_hash", "previous_secret_expires_at", "rolled_at", "expires_at",
                "expiry_warned_at",
            ]
        )  # fmt: skip
        target = found.as_target()
        audit.record_update("api_key.rolled", target=target, before=before, after=found.as_state(), now=now)
    return found, key_text.text_of(found.key_id, secret)


def _locked(key: ApiKey, *, for_more_than_its_name: bool = True) -> ApiKey:
    rows = ApiKey.objects.select_for_update(of=("self",), no_key=True).select_related("organization")
    found = rows.get(pk=key.pk)
    if found.revoked_at is not None and for_more_than_its_name:
        raise InvalidFields({"revoked_at": "is set: the key has been revoked; create a new key"})
    return found

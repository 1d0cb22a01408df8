"""An organization's alert channels: validate, create, change, delete and test them. Each function is audited."""

import hashlib
import time
from collections.abc import Mapping
from copy import copy
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import QuerySet

from deliveries import audit, plain_text, rates, vault
from deliveries.db.ids import uuid7
from deliveries.db.lookups import find_one
from deliveries.formats.masking import mask_path, mask_query
from deliveries.formats.standard_webhooks import make_secret
from deliveries.models import Organization, Repository
from deliveries.policy.incidents import LEVELS
from deliveries.sending.url import resolve_quickly
from deliveries.vault import Secret
from deliveries.webhooks import quotas
from deliveries.webhooks.fields import InvalidFields, check_url
from deliveries.webhooks.secrets import RotatedMeanwhile, rotated
from hookhub.alerts import queue
from hookhub.models import KINDS, Alert, AlertChannel, AlertKind

Type = AlertChannel.Type

MAX_CHANNELS = 20
MAX_RECIPIENTS = 10
MAX_NAME = 200
# Tests per minute of an organization: each may be an e-mail to any address.
TESTS = rates.Policy("alert-tests")
TESTS_PER_MINUTE = 10
# The columns of the fields that are called otherwise.
COLUMNS = {"url": ("stored_url", "sealed_url"), "enabled": ("paused_at",)}
FIELDS = ("name", "type", "kinds", "from_percent", "repository", "recipients", "url", "enabled")


class Created(NamedTuple):
    """A new channel with the secret that signs its alerts, which cannot be shown again; None if it has none."""

    channel: AlertChannel
    secret: str | None


def create(
    fields: Mapping[str, object], *, organization: Organization, uid: UUID | None = None, now: datetime
) -> Created:
    """Create a channel from fields as in FIELDS, with the id ``uid`` if it is set.

    Raise InvalidFields, rates.TooMany for too many new URLs, and IntegrityError if there is a channel with this id.
    """
    kind = fields.get("type")
    if kind not in Type.values:
        raise InvalidFields({"type": f"must be one of: {', '.join(Type.values)}"})
    channel = AlertChannel(
        id=uid or uuid7(now), organization=organization, type=kind, kinds=list(KINDS), created_at=now
    )
    set_fields(channel, fields, now=now)
    secret = make_secret() if kind == Type.WEBHOOK else None
    if secret is not None:
        channel.sealed_secret = vault.seal_secrets((Secret(secret),), of=channel.id)
    with transaction.atomic():
        # Two requests at once cannot both take the last place.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        _lock_repository(channel.repository)
        if AlertChannel.objects.filter(organization=organization).count() >= MAX_CHANNELS:
            raise InvalidFields({"organization": f"has {MAX_CHANNELS} alert channels, the maximum; delete one"})
        channel.save(force_insert=True)
        audit.record("alert_channel.created", target=channel.as_target(), after=channel.as_state(), now=now)
    return Created(channel, secret)


def change(channel: AlertChannel, fields: Mapping[str, object], *, now: datetime) -> AlertChannel:
    """Change some fields of a channel and return it. Raise as ``create`` does, or AlertChannel.DoesNotExist."""
    if fields.get("type", channel.type) != channel.type:
        raise InvalidFields({"type": "cannot be changed; create another channel"})
    # Before the row is locked, because a new URL may be looked up.
    changed = copy(channel)
    set_fields(changed, fields, now=now)
    with transaction.atomic():
        if "repository" in fields:
            _lock_repository(changed.repository)
        found = locked(channel)
        before = found.as_state()
        columns = {*(name for field in fields for name in COLUMNS.get(field, (field,))), "changed_at"} - {"type"}
        for name in columns:
            setattr(found, name, getattr(changed, name))
        # Only what its owner sets, because a worker may be sending to it.
        found.save(update_fields=columns)
        if found.paused_at is not None:
            queue.supersede(Alert.objects.filter(channel=found), now=now)
        audit.record_update(
            "alert_channel.updated", target=found.as_target(), before=before, after=found.as_state(), now=now
        )
    return found


def delete_of(repository: Repository, *, now: datetime) -> None:
    """Delete the channels of a locked repository that is about to be deleted."""
    # Locked by the same statement: one that is being moved to another repository is not among them then.
    own = AlertChannel.objects.filter(repository=repository).select_for_update(no_key=True).order_by("pk")
    for channel in list(own):
        delete(channel, now=now)


def delete(channel: AlertChannel, *, now: datetime) -> None:
    """Delete a channel; what waits to be sent to it is not sent. Raise AlertChannel.DoesNotExist if it is gone."""
    with transaction.atomic():
        found = locked(channel)
        queue.supersede(Alert.objects.filter(channel=found), now=now)
        audit.record("alert_channel.deleted", target=found.as_target(), before=found.as_state(), now=now)
        found.delete()


def send_test(channel: AlertChannel, *, now: datetime) -> Alert:
    """Queue a test alert and return it. Raise rates.TooMany, or AlertChannel.DoesNotExist if the channel is gone."""
    rates.take(TESTS, str(channel.organization_id), quota=TESTS_PER_MINUTE, now=time.time())
    with transaction.atomic():
        found = locked(channel)
        alert = Alert.objects.create(
            id=uuid7(now),
            organization_id=found.organization_id,
            channel=found,
            channel_type=found.type,
            channel_name=str(found),
            kind=AlertKind.TEST,
            created_at=now,
        )
        queue.wake([found.pk], now=now)
        audit.record("alert_channel.tested", target=found.as_target(), after={"alert": str(alert.pk)}, now=now)
    return alert


def version_of(channel: AlertChannel) -> str:
    """Return a text that differs after each rotation of a channel's secret, and from which none can be derived."""
    return hashlib.sha256(bytes(channel.sealed_secret or b"")).hexdigest()


def rotate_secret(
    channel: AlertChannel, *, overlap: timedelta | None = None, version: str | None = None, now: datetime
) -> str:
    """Make a new secret and return it; the previous ones sign alongside it for ``overlap``, or HOOKHUB_SECRET_OVERLAP.

    Raise InvalidFields for a channel that signs nothing, RotatedMeanwhile if the secrets are no longer those of
    ``version``, vault.Unreadable, and AlertChannel.DoesNotExist if the channel is gone.
    """
    overlap = settings.HOOKHUB_SECRET_OVERLAP if overlap is None else overlap
    with transaction.atomic():
        found = locked(channel)
        if found.type != Type.WEBHOOK:
            raise InvalidFields({"secret": f"cannot be rotated: a channel of type {found.type} has none"})
        if version is not None and version_of(found) != version:
            raise RotatedMeanwhile
        new = make_secret()
        kept = rotated(secrets_of(found), new, overlap=overlap, now=now)
        found.sealed_secret = vault.seal_secrets(kept, of=found.id)
        found.changed_at = now
        found.save(update_fields=["sealed_secret", "changed_at"])
        after = {"secret": audit.Masked(new), "previous_secrets_until": now + overlap if len(kept) > 1 else None}
        audit.record("alert_channel.secret_rotated", target=found.as_target(), after=after, now=now)
    return new


def secrets_of(channel: AlertChannel) -> tuple[Secret, ...]:
    """Return the secrets that sign a channel's alerts, newest first. Raise vault.Unreadable."""
    return () if channel.sealed_secret is None else vault.open_secrets(channel.sealed_secret, of=channel.id)


def _lock_repository(repository: Repository | None) -> None:
    """Keep a repository from being deleted until the transaction ends, before a channel is locked as by ``delete_of``.

    Raise InvalidFields if it is gone.
    """
    if repository is None:
        return
    if find_one(Repository.objects.select_for_update(no_key=True).filter(pk=repository.pk)) is None:
        raise InvalidFields({"repository": "was deleted in the meantime"})


def locked(channel: AlertChannel) -> AlertChannel:
    """Lock a channel until the transaction ends. Raise AlertChannel.DoesNotExist if it is gone."""
    rows: QuerySet[AlertChannel] = AlertChannel.objects.select_related("organization", "repository")
    return rows.select_for_update(no_key=True, of=("self",)).get(pk=channel.pk)


def reencrypt_all() -> int:
    """Seal what is secret of all channels with the first key; return how many were not. Raise vault.Unreadable."""
    done = 0
    for channel_id in AlertChannel.objects.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            channel = find_one(AlertChannel.objects.select_for_update(no_key=True).filter(pk=channel_id))
            if channel is None:
                continue
            before = channel.sealed_url, channel.sealed_secret
            try:
                if channel.sealed_url is not None:
                    channel.sealed_url = vault.reseal(channel.sealed_url, column=vault.URL, of=channel.id)
                if channel.sealed_secret is not None:
                    channel.sealed_secret = vault.reseal(channel.sealed_secret, column=vault.SECRETS, of=channel.id)
            except vault.Unreadable as error:
                raise vault.Unreadable(f"the alert channel {channel.id}") from error
            if before != (channel.sealed_url, channel.sealed_secret):
                channel.save(update_fields=["sealed_url", "sealed_secret"])
                done += 1
    return done


def set_fields(channel: AlertChannel, fields: Mapping[str, object], *, now: datetime) -> None:
    """Set fields on a channel without saving it. Raise InvalidFields with every invalid one, and rates.TooMany."""
    errors = {name: f"is not a known field; known fields: {', '.join(FIELDS)}" for name in fields if name not in FIELDS}
    for name, read in READERS.items():
        if name in fields:
            try:
                setattr(channel, name, read(fields[name]))
            except ValueError as error:
                errors[name] = str(error)
    errors |= _misplaced(channel, fields)
    repository = fields.get("repository", channel.repository)
    if isinstance(repository, Repository) and repository.organization_id != channel.organization_id:
        errors["repository"] = "must be a repository of the organization"
    if errors:
        raise InvalidFields(errors)
    channel.repository = repository if isinstance(repository, Repository) else None
    if channel.type != Type.EMAIL and "url" in fields:
        _set_url(channel, fields["url"])
    if "enabled" in fields:
        channel.paused_at = None if fields["enabled"] else channel.paused_at or now
    channel.changed_at = now


def _misplaced(channel: AlertChannel, fields: Mapping[str, object]) -> dict[str, str]:
    """Return what is wrong with the fields that only some types of channels have."""
    if channel.type == Type.EMAIL:
        return {"url": "must be empty for e-mail; set recipients"} if fields.get("url") else {}
    errors = {}
    if fields.get("recipients"):
        errors["recipients"] = f"must be empty for {channel.type}; set url"
    if not fields.get("url", channel.stored_url):
        errors["url"] = "is required"
    return errors


def _set_url(channel: AlertChannel, value: object) -> None:
    """Set the URL that alerts are sent to. Raise InvalidFields, and rates.TooMany because it costs a look-up."""
    # A form sends the masked URL back unchanged.
    if channel.stored_url and value == channel.stored_url:
        return
    quotas.take_change(channel.organization)
    try:
        url = check_url(value, resolve=resolve_quickly)
    except ValueError as error:
        raise InvalidFields({"url": str(error)}) from error
    # Knowing the URL of a chat is enough to post there.
    channel.stored_url = mask_query(url) if channel.type == Type.WEBHOOK else mask_path(url)
    channel.sealed_url = None if channel.stored_url == url else vault.seal_url(url, of=channel.id)


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise ValueError(f"must be a text of up to {MAX_NAME} characters")
    if error := plain_text.error_in(value):
        raise ValueError(error)
    return value


def _kinds(value: object) -> list[str]:
    if not isinstance(value, list | tuple) or not value or any(kind not in KINDS for kind in value):
        raise ValueError(f"must be a list of at least one of: {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in value]


def _from_percent(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in LEVELS:
        raise ValueError(f"must be one of: {', '.join(map(str, LEVELS))}")
    return value


def _recipients(value: object) -> list[str]:
    if not isinstance(value, list | tuple) or len(value) > MAX_RECIPIENTS:
        raise ValueError(f"must be a list of up to {MAX_RECIPIENTS} e-mail addresses")
    for address in value:
        try:
            validate_email(address)
        except ValidationError as error:
            raise ValueError(f"must be e-mail addresses; {str(address)[:100]!r} is none") from error
    return list(dict.fromkeys(value))


READERS: Mapping[str, Any] = {
    "name": _name, "kinds": _kinds, "from_percent": _from_percent, "recipients": _recipients,
}  # fmt: skip

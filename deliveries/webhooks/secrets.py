"""A webhook's signing secrets: the first one, whether a change keeps them, rotation and re-encryption."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from deliveries import audit, vault
from deliveries.db.lookups import find_one
from deliveries.formats import FORMATS, Format
from deliveries.models import Verification, Webhook
from deliveries.vault import Secret
from deliveries.webhooks import recording
from deliveries.webhooks.fields import InvalidFields, require_known_format, validate
from deliveries.webhooks.locking import lock

# Bounds the row when a secret is rotated repeatedly; receivers need only the newest ones.
MAX_SECRETS = 5
SEALED_COLUMNS = ("stored_url", "sealed_url", "sealed_secrets", "sealed_headers")


def first_secret(wire_format: Format, given: object = None) -> str:
    """Return the given secret; for None, generate one, or return "" if the format does not sign."""
    if given is not None:
        return str(given)
    return wire_format.make_secret() if wire_format.secret_policy.allows_secret else ""


def seal(secret: str, *, of: UUID) -> bytes:
    """Return the only secret of a webhook, encrypted; "" stands for none."""
    return vault.seal_secrets((Secret(secret),) if secret else (), of=of)


def may_be_kept(webhook: Webhook, wire_format: Format, *, moves: bool) -> bool:
    """Return whether the webhook can keep its secrets (or having none) with this format.

    ``moves`` means that the URL leads to another receiver, which must not get the old receiver's secret. Raise
    vault.Unreadable if that depends on secrets that cannot be decrypted.
    """
    policy = wire_format.secret_policy
    if moves and not policy.allows_none:
        return False
    try:
        secrets = vault.secrets_of(webhook)
    except vault.Unreadable:
        if moves:
            return False
        raise
    if not secrets:
        return policy.allows_none
    if moves or not policy.allows_secret:
        return False
    return not any(wire_format.secret_error(secret.text) for secret in secrets)


class RotatedMeanwhile(Exception):
    """The secrets were changed after the caller had read the webhook; nothing was changed now."""


def version_of(webhook: Webhook) -> str:
    """Return a text that differs after each change of the webhook's secrets, and from which none can be derived."""
    return hashlib.sha256(bytes(webhook.sealed_secrets)).hexdigest()


def rotate_secret(
    webhook_id: int,
    *,
    secret: str | None = None,
    overlap: timedelta | None = None,
    version: str | None = None,
    now: datetime,
) -> tuple[Webhook, str]:
    """Add a new secret; the previous ones keep signing alongside it for ``overlap``. Return webhook and new secret.

    ``secret`` is generated if None; ``overlap`` defaults to HOOKHUB_SECRET_OVERLAP. Raise InvalidFields if the secret
    is invalid, or if the format signs nothing or is unknown to this version, and RotatedMeanwhile if the secrets are no
    longer those of ``version``.
    """
    overlap = settings.HOOKHUB_SECRET_OVERLAP if overlap is None else overlap
    with transaction.atomic():
        webhook = lock(webhook_id)
        if version is not None and version_of(webhook) != version:
            raise RotatedMeanwhile
        _require_valid(secret, webhook=webhook)
        new = secret or FORMATS[webhook.format].make_secret()
        kept = rotated(vault.secrets_of(webhook), new, overlap=overlap, now=now)
        webhook.sealed_secrets = vault.seal_secrets(kept, of=webhook.uid)
        webhook.save(update_fields=["sealed_secrets"])
        after = {"secret": audit.Masked(new), "previous_secrets_until": now + overlap if len(kept) > 1 else None}
        recording.rotated(webhook, after, now=now)
    return webhook, new


def rotated(secrets: Iterable[Secret], new: str, *, overlap: timedelta, now: datetime) -> tuple[Secret, ...]:
    """Return the secrets with a new one first; those in use keep signing alongside it for ``overlap`` at most."""
    last_day = now + overlap
    older = [
        Secret(old.text, min(old.expires_at or last_day, last_day))
        for old in secrets
        if old.is_live(now) and old.text != new and overlap > timedelta(0)
    ]
    return (Secret(new), *older)[:MAX_SECRETS]


def _require_valid(secret: str | None, *, webhook: Webhook) -> None:
    """Raise InvalidFields if the webhook's secret cannot be rotated, or not to ``secret``."""
    require_known_format(webhook.format)
    if not FORMATS[webhook.format].secret_policy.allows_secret:
        raise InvalidFields({"secret": f"cannot be rotated: the format {webhook.format} does not sign requests"})
    if secret == "":
        raise InvalidFields({"secret": "must not be empty; to remove the secret, change the webhook"})
    if secret is not None:
        validate({"secret": secret}, current_format=webhook.format)


def reencrypt_all() -> Iterator[bool]:
    """Re-encrypt every webhook's secrets, headers, URL and waiting changes with the first key, in the current form.

    Yield for each webhook whether it had to be re-encrypted. Each is committed separately, so that after an
    interruption the next run skips what is done. Raise vault.Unreadable at the first webhook that cannot be decrypted.
    """
    for webhook_id in Webhook.objects.kept().order_by("id").values_list("id", flat=True).iterator():
        with transaction.atomic():
            webhook = find_one(Webhook.objects.locked().filter(pk=webhook_id))
            was_stale = webhook is not None and _reencrypt(webhook)
        yield was_stale


def _reencrypt(webhook: Webhook) -> bool:
    before = [getattr(webhook, name) for name in SEALED_COLUMNS]
    secrets, headers = webhook.sealed_secrets, webhook.sealed_headers
    webhook.sealed_secrets = vault.reseal(secrets, column=vault.SECRETS, of=webhook.uid)
    if headers is not None:
        webhook.sealed_headers = vault.reseal(headers, column=vault.HEADERS, of=webhook.uid)
    if webhook.sealed_url is None:
        # Assigning the URL masks and encrypts what its format has come to treat as secret since it was stored.
        webhook.url = webhook.stored_url
    else:
        webhook.sealed_url = vault.reseal(webhook.sealed_url, column=vault.URL, of=webhook.uid)
    was_stale = before != [getattr(webhook, name) for name in SEALED_COLUMNS]
    if was_stale:
        webhook.save(update_fields=SEALED_COLUMNS)
    return any([was_stale, *map(_reencrypt_change, webhook.verifications.open().select_for_update())])


def _reencrypt_change(waiting: Verification) -> bool:
    """Do for the change that waits for a locked verification what ``_reencrypt`` does for a webhook."""
    before = waiting.sealed_change
    if before is None:
        return False
    waiting.sealed_change = vault.reseal(before, column=vault.CHANGE, of=waiting.id)
    if waiting.sealed_change == bytes(before):
        return False
    waiting.save(update_fields=["sealed_change"])
    return True

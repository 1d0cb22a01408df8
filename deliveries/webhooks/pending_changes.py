"""The part of a webhook that waits for a proof: where it sends, and with which secrets; sealed until then."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from deliveries import vault
from deliveries.formats import format_of
from deliveries.models import Webhook
from deliveries.vault import Secret

COLUMNS = ("subscription", "format", "content_type", "stored_url", "sealed_url", "sealed_secrets", "sealed_headers")


class PendingChange(NamedTuple):
    """What a webhook gets once its URL is verified; None keeps what it has. ``secrets`` may be empty, for none."""

    url: str | None = None
    format: str | None = None
    content_type: str | None = None
    secrets: tuple[Secret, ...] | None = None
    headers: dict[str, str] | None = None
    subscription: dict[str, object] | None = None


NO_CHANGE = PendingChange()


def seal(change: PendingChange, *, of: UUID) -> bytes | None:
    """Return the change encrypted for the verification with the id ``of``, or None if it is empty."""
    if change == NO_CHANGE:
        return None
    secrets = change.secrets
    rows = None if secrets is None else [[one.text, one.expires_at and one.expires_at.isoformat()] for one in secrets]
    return vault.seal_change({**change._asdict(), "secrets": rows}, of=of)


def unseal(sealed: vault.Sealed | None, *, of: UUID) -> PendingChange:
    """Return the change that ``seal`` encrypted for this verification. Raise vault.Unreadable."""
    if sealed is None:
        return NO_CHANGE
    found = vault.open_change(sealed, of=of)
    if found["secrets"] is not None:
        found["secrets"] = tuple(
            Secret(text, datetime.fromisoformat(until) if until else None) for text, until in found["secrets"]
        )
    return PendingChange(**found)


def apply(change: PendingChange, webhook: Webhook) -> None:
    """Set the changed fields of a webhook. The caller saves COLUMNS."""
    # The format decides how much of the URL is masked.
    url = change.url if change.url is not None else webhook.url if change.format is not None else None
    if change.format is not None:
        webhook.format = change.format
    if change.content_type is not None:
        webhook.content_type = change.content_type
    if url is not None:
        webhook.url = url
    if change.secrets is not None:
        webhook.sealed_secrets = vault.seal_secrets(change.secrets, of=webhook.uid)
    if change.subscription is not None:
        webhook.subscription = change.subscription
    if change.headers is not None:
        webhook.sealed_headers = vault.seal_headers(change.headers, of=webhook.uid)


def waiting(webhook: Webhook) -> PendingChange:
    """Return what waits for a proof of a locked webhook; NO_CHANGE if nothing does, or if its key is lost."""
    verification = webhook.verifications.open().first()
    try:
        return NO_CHANGE if verification is None else unseal(verification.sealed_change, of=verification.id)
    except vault.Unreadable:
        return NO_CHANGE


def call_off_move(webhook: Webhook, *, now: datetime) -> None:
    """Let a locked webhook keep its URL, if a move to another one waits for its proof."""
    waiting = webhook.verifications.open().select_for_update()
    for verification in waiting.filter(sealed_change__isnull=False):
        try:
            moves = unseal(verification.sealed_change, of=verification.id).url is not None
        except vault.Unreadable:
            moves = True
        if moves:
            waiting.filter(pk=verification.pk).supersede(now=now)


def shown_url(change: PendingChange, webhook: Webhook) -> str:
    """Return the URL that the change leads to, with its secret parts masked."""
    wire_format = format_of(change.format or webhook.format)
    return wire_format.show_url(webhook.url if change.url is None else change.url)

"""Previews: the request that a delivery to a webhook would be, without a delivery, and without a signature."""

import re
from datetime import datetime
from typing import NamedTuple

from deliveries import compact_json, vault
from deliveries.db.ids import uuid7
from deliveries.formats import format_of
from deliveries.models import Delivery, Webhook
from deliveries.pipeline import attempting
from deliveries.pipeline.claims import Claim, Destination
from deliveries.vault import Secret

SIGNATURE = "<signature>"
# What of two different signatures' common beginning belongs to the notation: all up to the last such mark.
NOTATION = re.compile(r".*[=, :]")


class Preview(NamedTuple):
    """A request as it may be shown: the URL and the values of custom headers masked, signatures left out."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def preview(webhook: Webhook, event_type: str, data: object, *, now: datetime) -> Preview:
    """Return the request that would be sent for an event; the ids in it are not those of a later delivery.

    The webhook is loaded with its organization and repository. Raise what its format raises for data that it cannot
    send.
    """
    claim = _claim_of(webhook, event_type, compact_json.encode(data), now=now)
    one, other = (attempting.render(_with_new_secrets(claim, webhook, now=now), now=now) for _ in range(2))
    # Whatever depends on the secret is a signature: each of the two is signed with a secret of its own.
    headers = [
        (name, _unsigned(value, signed)) for (name, value), (_, signed) in zip(one.headers, other.headers, strict=True)
    ]
    return Preview(one.url, tuple(headers), one.body)


def _unsigned(value: str, other: str) -> str:
    """Return a header's value with everything in place of which another secret puts something else left out."""
    if value == other:
        return value
    pairs = zip(value.split(" "), other.split(" "), strict=True)
    return " ".join(word if word == twin else _notation_of(word, twin) + SIGNATURE for word, twin in pairs)


def _notation_of(word: str, twin: str) -> str:
    differs = next((at for at, (one, other) in enumerate(zip(word, twin, strict=False)) if one != other), 0)
    found = NOTATION.match(word[:differs])
    return found[0] if found else ""


def _claim_of(webhook: Webhook, event_type: str, payload: bytes, *, now: datetime) -> Claim:
    """Return the claim of a delivery that does not exist, to the webhook as it may be shown."""
    destination = Destination.masked(webhook)
    repository = webhook.repository
    return Claim(
        lease=uuid7(now),
        leased_until=now,
        destination=destination,
        delivery_id=uuid7(now),
        number=1,
        failures=0,
        first_attempt_at=now,
        due_at=now,
        event_id=str(uuid7(now)),
        event_type=event_type,
        payload=payload,
        occurred_at=now,
        repository=None if repository is None else repository.name,
    )


def _with_new_secrets(claim: Claim, webhook: Webhook, *, now: datetime) -> Claim:
    """Return the claim with new secrets in place of the webhook's, as many as sign now."""
    wire_format = format_of(webhook.format)
    try:
        count = sum(secret.is_live(now) for secret in vault.secrets_of(webhook))
    except vault.Unreadable:
        count = 1
    least = 0 if wire_format.secret_policy.allows_none else 1
    made = tuple(Secret(wire_format.make_secret()) for _ in range(max(count, least)))
    sealed = vault.seal_secrets(made, of=claim.destination.webhook_uid)
    return claim._replace(destination=claim.destination._replace(sealed_secrets=sealed))


def body_of(delivery: Delivery, webhook: Webhook, *, now: datetime) -> bytes:
    """Return the body with which a delivery is sent, by the webhook's settings now.

    The webhook is loaded as for ``preview``, the delivery with its event and repository.
    """
    event, repository = delivery.event, delivery.repository
    claim = _claim_of(webhook, event.type, bytes(event.payload), now=now)._replace(
        delivery_id=delivery.pk,
        event_id=str(event.pk),
        occurred_at=event.occurred_at,
        repository=None if repository is None else repository.name,
    )
    return attempting.render(_with_new_secrets(claim, webhook, now=now), now=now).body

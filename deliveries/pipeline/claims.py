"""What a worker holds of a delivery that it has claimed: where and how to send it, and what."""

import json
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from deliveries import vault
from deliveries.formats import MASK
from deliveries.models import Webhook
from deliveries.pipeline.capacity import IS_SLOW


class Destination(NamedTuple):
    """A webhook at the time of a claim: where and how to send."""

    webhook_id: int
    webhook_uid: str
    organization_id: int
    organization: str
    repository_id: int | None
    # The URL as it may be shown; ``sealed_url`` is the whole URL, encrypted, if that differs.
    url: str
    sealed_url: bytes | None
    format: str
    content_type: str
    sealed_secrets: bytes
    sealed_headers: bytes | None
    verify_ssl: bool
    retry_schedule: list[timedelta] | None
    timeout: timedelta | None
    # JSON, for webhooks that were subscribed at a hub.
    subscription: str | None
    # The name to send along, which the receiver granted by a handshake.
    request_origin: str | None
    # With a rate: the time from one request to the next, and by how much one may start late.
    pace_interval: timedelta | None
    pace_lag: timedelta | None
    slow: bool

    @classmethod
    def of(cls, webhook: Webhook) -> "Destination":
        """Return what a claim would hold of a webhook, which is loaded with its organization."""
        return cls(
            webhook_id=webhook.pk,
            webhook_uid=str(webhook.uid),
            organization_id=webhook.organization_id,
            organization=webhook.organization.slug,
            repository_id=webhook.repository_id,
            url=webhook.stored_url,
            sealed_url=None if webhook.sealed_url is None else bytes(webhook.sealed_url),
            format=webhook.format,
            content_type=webhook.content_type,
            sealed_secrets=bytes(webhook.sealed_secrets),
            sealed_headers=None if webhook.sealed_headers is None else bytes(webhook.sealed_headers),
            verify_ssl=webhook.verify_ssl,
            retry_schedule=webhook.retry_schedule,
            timeout=webhook.timeout,
            subscription=None if webhook.subscription is None else json.dumps(webhook.subscription),
            request_origin=webhook.request_origin,
            pace_interval=webhook.pace_interval,
            pace_lag=webhook.pace_lag,
            slow=False,
        )

    @classmethod
    def masked(cls, webhook: Webhook) -> "Destination":
        """Return the same with what may be shown in place of the URL, and the values of custom headers masked."""
        headers = dict.fromkeys(vault.headers_to_show(webhook), MASK)
        sealed = vault.seal_headers(headers, of=webhook.uid)
        return cls.of(webhook)._replace(url=webhook.shown_url, sealed_url=None, sealed_headers=sealed)


class Claim(NamedTuple):
    """A leased delivery and everything that one attempt needs.

    From ``delivery_id`` on, fields follow the select list of claiming.CLAIM, and from ``event_id`` on that of EVENT.
    """

    lease: UUID
    leased_until: datetime
    destination: Destination
    delivery_id: UUID
    number: int
    failures: int
    first_attempt_at: datetime
    # When it was due, by which it keeps its place among the others if it is released.
    due_at: datetime
    event_id: str
    event_type: str
    payload: bytes
    occurred_at: datetime
    repository: str | None
    # The HookHub-Hops header with which the event was published.
    hops: str | None = None
    # The trace of its publisher, as ``policy.trace_context`` reads it.
    trace: str | None = None
    # When its request may start; None for at once, which is so unless its webhook has a rate.
    starts_at: datetime | None = None


# The columns of a webhook ``w`` and its organization ``o`` for the fields of Destination.
_DESTINATION = {
    "webhook_id": "w.id",
    "webhook_uid": "w.uid::text",
    "organization_id": "w.organization_id",
    "organization": "o.slug",
    "repository_id": "w.repository_id",
    "url": "w.url",
    "sealed_url": "w.sealed_url",
    "format": "w.format",
    "content_type": "w.content_type",
    "sealed_secrets": "w.sealed_secrets",
    "sealed_headers": "w.sealed_headers",
    "verify_ssl": "w.verify_ssl",
    "retry_schedule": "w.retry_schedule",
    "timeout": "w.timeout",
    "subscription": "w.subscription::text",
    "request_origin": "w.request_origin",
    "pace_interval": "w.pace_interval",
    "pace_lag": "w.pace_lag",
    "slow": IS_SLOW,
}
DESTINATION = ", ".join(_DESTINATION[field] for field in Destination._fields)

# What a claim holds of its event ``e`` and that event's repository ``r``.
EVENT = "e.id::text, e.type, e.payload, e.occurred_at, r.name, e.hops, e.trace"

"""Coregit's wire format: one JSON envelope, signed over the raw body."""

from datetime import timedelta
from typing import ClassVar

from deliveries.compact_json import encode
from deliveries.formats.base import Format, Message, Rendered, stamp
from deliveries.formats.body_schemas import TEXT, TIME, Schema, object_of
from deliveries.formats.policies import Policy
from deliveries.signing import sha256_hex


class Coregit(Format):
    """Documented as fire-and-forget: a timeout of ten seconds and no retries, so its webhooks are never disabled."""

    slug = "coregit"
    title = "Coregit"
    policy = Policy(timeout=timedelta(seconds=10), retry_schedule=(), auto_disable=False)
    reserved_headers = frozenset(
        {"content-type", "user-agent", "x-coregit-event", "x-coregit-signature", "x-coregit-webhook-id"}
    )

    header_notes: ClassVar = {
        "X-CoreGit-Event": "Type of the event.",
        "X-CoreGit-Signature": "`sha256=` and the HMAC-SHA256 of the body in hexadecimal.",
        "X-CoreGit-Webhook-Id": "Id of the webhook.",
    }

    def body_schema(self, data: Schema) -> Schema:
        return object_of(event=TEXT, timestamp=TIME, org_id=TEXT, data=data)

    def render(self, message: Message) -> Rendered:
        body = b'{"event":%s,"timestamp":"%s","org_id":%s,"data":%s}' % (
            encode(message.event_type),
            stamp(message.occurred_at, milliseconds=True).encode(),
            encode(message.organization),
            message.payload,
        )
        # The header has room for one signature, so during a rotation the newest secret signs.
        return Rendered(
            headers=(
                ("Content-Type", "application/json"),
                ("User-Agent", "CoreGit-Webhook/1.0"),
                ("X-CoreGit-Event", message.event_type),
                ("X-CoreGit-Signature", "sha256=" + sha256_hex(message.secrets[0].encode(), body)),
                ("X-CoreGit-Webhook-Id", message.webhook_id),
            ),
            body=body,
        )

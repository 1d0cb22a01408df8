"""codmir's wire format: one JSON envelope with the event's id, signed over the raw body."""

from typing import ClassVar

from deliveries.compact_json import encode
from deliveries.formats.base import Format, Message, Rendered, stamp
from deliveries.formats.body_schemas import TEXT, TIME, Schema, object_of
from deliveries.signing import sha256_hex


class Codmir(Format):
    """Its documentation names only the signature header; the event and delivery headers follow similar systems."""

    slug = "codmir"
    title = "codmir"
    reserved_headers = frozenset(
        {"content-type", "user-agent", "x-codmir-event", "x-codmir-delivery", "x-codmir-signature"}
    )

    header_notes: ClassVar = {
        "X-Codmir-Event": "Type of the event.",
        "X-Codmir-Delivery": "Id of the delivery, the same on every attempt.",
        "X-Codmir-Signature": "`sha256=` and the HMAC-SHA256 of the body in hexadecimal.",
    }

    def body_schema(self, data: Schema) -> Schema:
        return object_of(id=TEXT, type=TEXT, timestamp=TIME, data=data)

    def render(self, message: Message) -> Rendered:
        body = b'{"id":"evt_%s","type":%s,"timestamp":"%s","data":%s}' % (
            message.event_id.replace("-", "").encode(),
            encode(message.event_type),
            stamp(message.occurred_at).encode(),
            message.payload,
        )
        # The header has room for one signature, so during a rotation the newest secret signs.
        return Rendered(
            headers=(
                ("Content-Type", "application/json"),
                ("User-Agent", "Codmir-Webhook/1.0"),
                ("X-Codmir-Event", message.event_type),
                ("X-Codmir-Delivery", message.delivery_id),
                ("X-Codmir-Signature", "sha256=" + sha256_hex(message.secrets[0].encode(), body)),
            ),
            body=body,
        )

"""codmir's wire format: one JSON envelope with the event's id, signed over the raw body."""

from deliveries.compact_json import encode
from deliveries.formats.base import Format, Message, Rendered, stamp
from deliveries.signing import sha256_hex


class Codmir(Format):
    """Its documentation names only the signature header; the event and delivery headers follow similar systems."""

    slug = "codmir"
    title = "codmir"
    reserved_headers = frozenset(
        {"content-type", "user-agent", "x-codmir-event", "x-codmir-delivery", "x-codmir-signature"}
    )

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

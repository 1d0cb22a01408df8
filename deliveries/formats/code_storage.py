"""Code Storage's wire format: the payload unchanged, signed together with the time of sending."""

from typing import ClassVar

from deliveries.formats.base import Format, Message, Rendered
from deliveries.signing import sha256_hex


class CodeStorage(Format):
    """Receivers refuse signatures older than five minutes, so every attempt is signed with its own time."""

    slug = "code-storage"
    title = "Code Storage"
    reserved_headers = frozenset({"content-type", "user-agent", "x-pierre-event", "x-pierre-signature"})

    header_notes: ClassVar = {
        "X-Pierre-Event": "Type of the event.",
        "X-Pierre-Signature": "`t=<time>,sha256=<digest>`: the time of this attempt in seconds since 1970, and the "
        "HMAC-SHA256 of `<time>.<body>` in hexadecimal.",
    }

    def render(self, message: Message) -> Rendered:
        moment = str(int(message.sent_at.timestamp()))
        signed = b"%s.%s" % (moment.encode(), message.payload)
        # The header has room for one signature, so during a rotation the newest secret signs. Receivers split it at the
        # comma and do not strip the parts.
        signature = f"t={moment},sha256={sha256_hex(message.secrets[0].encode(), signed)}"
        return Rendered(
            headers=(
                ("Content-Type", "application/json"),
                ("User-Agent", "Pierre-Webhook/1.0"),
                ("X-Pierre-Event", message.event_type),
                ("X-Pierre-Signature", signature),
            ),
            body=message.payload,
        )

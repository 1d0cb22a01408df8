"""Sigmagit's wire format: the payload unchanged, signed over the raw body."""

import secrets
from datetime import timedelta
from typing import ClassVar

from deliveries.formats.base import Format, Message, Rendered
from deliveries.formats.policies import Policy
from deliveries.signing import sha256_hex


class Sigmagit(Format):
    """Its documentation promises a timeout of thirty seconds and five retries, which override the deployment's."""

    slug = "sigmagit"
    title = "Sigmagit"
    policy = Policy(
        timeout=timedelta(seconds=30),
        retry_schedule=(
            timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=6),
        ),
    )  # fmt: skip
    reserved_headers = frozenset({"content-type", "user-agent", "x-sigmagit-event", "x-sigmagit-signature"})

    header_notes: ClassVar = {
        "X-Sigmagit-Event": "Type of the event.",
        "X-Sigmagit-Signature": "`sha256=` and the HMAC-SHA256 of the body in hexadecimal.",
    }

    def render(self, message: Message) -> Rendered:
        # The header has room for one signature, so during a rotation the newest secret signs.
        signature = sha256_hex(message.secrets[0].encode(), message.payload)
        return Rendered(
            headers=(
                ("Content-Type", "application/json"),
                ("User-Agent", "Sigmagit-Webhook/1.0"),
                ("X-Sigmagit-Event", message.event_type),
                ("X-Sigmagit-Signature", f"sha256={signature}"),
            ),
            body=message.payload,
        )

    def make_secret(self) -> str:
        return secrets.token_hex(32)

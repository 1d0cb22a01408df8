"""Standard Webhooks: the open wire format, and HookHub's default."""

import base64
import secrets
from functools import lru_cache

from deliveries.compact_json import encode
from deliveries.formats.base import Format, Message, Rendered, stamp
from deliveries.formats.body_schemas import TEXT, TIME, Schema, object_of
from deliveries.signing import sha256_base64
from deliveries.version import USER_AGENT

PREFIX = "whsec_"
# The headers of ``sign``.
HEADERS = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature"})
NOTES = {
    "webhook-id": "Id of the delivery, the same on every attempt: process each id once.",
    "webhook-timestamp": "Time of this attempt, in seconds since 1970. Refuse what is older than five minutes.",
    "webhook-signature": "`v1,` and the base64 of the HMAC-SHA256 of `<webhook-id>.<webhook-timestamp>.<body>`; its "
    "key is what follows `whsec_` in the secret, base64-decoded. During a rotation, one for each secret, with a space "
    "between them.",
}


# Cached, because a busy webhook's secret is decoded thousands of times a second.
@lru_cache(maxsize=4096)
def key_of(secret: str) -> bytes:
    """Return the signing key inside a ``whsec_`` secret. Raise ValueError if it is not base64."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    # Text beyond ASCII is an error of another kind than other characters.
    except ValueError as error:
        raise ValueError("must be whsec_ followed by base64") from error


# Cached, because there are few types of events.
@lru_cache(maxsize=4096)
def _quoted(event_type: str) -> bytes:
    return encode(event_type)


class StandardWebhooks(Format):
    """https://www.standardwebhooks.com: signs id, time and body, with one signature for each live secret."""

    slug = "standard-webhooks"
    title = "Standard Webhooks"
    reserved_headers = HEADERS | {"content-type", "user-agent"}
    header_notes = NOTES

    def render(self, message: Message) -> Rendered:
        body = b'{"type":%s,"timestamp":"%s","data":%s}' % (
            _quoted(message.event_type),
            stamp(message.occurred_at, milliseconds=True).encode(),
            message.payload,
        )
        return Rendered(
            headers=(("Content-Type", "application/json"), ("User-Agent", USER_AGENT), *sign(message, body)),
            body=body,
        )

    def body_schema(self, data: Schema) -> Schema:
        return object_of(type=TEXT, timestamp=TIME, data=data)

    def make_secret(self) -> str:
        return make_secret()

    def secret_error(self, secret: str) -> str | None:
        return secret_error(secret)


def sign(message: Message, body: bytes) -> tuple[tuple[str, str], ...]:
    """Return the headers that sign the delivery's id, the time of this attempt and the body."""
    moment = str(int(message.sent_at.timestamp()))
    signed = f"{message.delivery_id}.{moment}.".encode() + body
    signatures = " ".join(["v1," + sha256_base64(key_of(secret), signed) for secret in message.secrets])
    return ("webhook-id", message.delivery_id), ("webhook-timestamp", moment), ("webhook-signature", signatures)


def make_secret() -> str:
    """Return a new secret with 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def secret_error(secret: str) -> str | None:
    """Return what is wrong with a secret, or None if it is valid."""
    try:
        size = len(key_of(secret))
    except ValueError as error:
        return str(error)
    if not secret.startswith(PREFIX) or not 24 <= size <= 64:
        return "must be whsec_ followed by the base64 of 24 to 64 random bytes"
    return None

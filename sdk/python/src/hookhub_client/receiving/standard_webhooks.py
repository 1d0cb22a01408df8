"""Verifies requests that are signed as Standard Webhooks (https://www.standardwebhooks.com) are, in four formats."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from .request import (
    WHITE_SPACE,
    Received,
    Request,
    VerificationFailed,
    as_bytes,
    demand_match,
    digest_of,
    read_envelope,
    read_json,
    read_seconds,
)

# HookHub signs with five secrets at most; more signatures than this are ignored.
MAX_SIGNATURES = 20


def verify_standard_webhooks(request: Request) -> Received:
    """Verify the default format, in which the body is an envelope."""
    return _in_envelope(request, type_in="type", needs=["data"])


def verify_cloudevents(request: Request) -> Received:
    """Verify CloudEvents in structured mode, in which the body has all attributes."""
    return _in_envelope(request, type_in="type", needs=["specversion", "id", "source", "data"])


def verify_cloudevents_binary(request: Request) -> Received:
    """Verify CloudEvents in binary mode, in which the body is the data and the attributes are unsigned headers."""
    delivery, timestamp = _signed(request)
    event_type = request.header("ce-type")
    return Received(type=event_type, id=delivery, timestamp=timestamp, data=read_json(request.body))


def verify_mcp_event(request: Request) -> Received:
    """Verify an event of an MCP server, whose id is that of the event."""
    return _in_envelope(request, type_in="name", needs=["eventId", "data"])


def _in_envelope(request: Request, *, type_in: str, needs: Sequence[str]) -> Received:
    delivery, timestamp = _signed(request)
    body = read_envelope(request.body, type_in=type_in, needs=needs)
    return Received(type=body[type_in], id=delivery, timestamp=timestamp, data=body["data"])


def _signed(request: Request) -> tuple[str, datetime]:
    """Verify ``v1,<base64>`` signatures over ``id.timestamp.body``, and return the id and the time."""
    delivery = request.header("webhook-id")
    sent = request.header("webhook-timestamp")
    parts = [each.partition(",") for each in re.split(f"[{WHITE_SPACE}]+", request.header("webhook-signature"))]
    claimed = [_decoded(text) for version, _, text in parts if version == "v1"][:MAX_SIGNATURES]
    signed = as_bytes(f"{delivery}.{sent}.") + request.body
    # A secret of another form belongs to a webhook of another format; ignore it.
    keys = [key for key in map(read_key, request.secrets) if key]
    demand_match(claimed, [digest_of(key, signed) for key in keys])
    return delivery, _recent(sent, now=request.now, tolerance=request.tolerance)


def read_key(secret: str) -> bytes | None:
    """Decode ``whsec_<base64>`` (prefix and padding optional), or return None for a secret of another form."""
    text = secret.removeprefix("whsec_").rstrip("=")
    return _decoded(text + "=" * (-len(text) % 4)) or None


def _decoded(text: str) -> bytes:
    try:
        # Python 3.9 and 3.10 accept more padding than there is room for.
        return b"" if len(text) % 4 else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _recent(sent: str, *, now: datetime, tolerance: timedelta) -> datetime:
    timestamp = read_seconds(sent)
    if timestamp is None:
        raise VerificationFailed(
            f"The webhook-timestamp header is not a Unix timestamp: {sent[:40]!r}.", code="malformed_header"
        )
    age = now - timestamp
    if tolerance and abs(age) > tolerance:
        direction = "ago" if age > timedelta(0) else "in the future"
        raise VerificationFailed(
            f"The signature is valid, but the request was signed {abs(age).total_seconds():.0f} seconds {direction}; "
            f"the tolerance is {tolerance.total_seconds():.0f} seconds. The request is a replay, or a clock is wrong.",
            code="wrong_time",
        )
    return timestamp

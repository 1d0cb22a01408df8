"""Verifies ``code-storage`` requests; the error messages are those of Code Storage's own SDKs."""

from __future__ import annotations

from datetime import timedelta

from .request import (
    Received,
    Request,
    VerificationFailed,
    as_bytes,
    digest_of,
    is_any,
    read_json,
    read_seconds,
)

# Clock skew: how far the sender's clock may be ahead of the receiver's.
MAX_CLOCK_SKEW = timedelta(seconds=60)


def verify_code_storage(request: Request) -> Received:
    """Verify ``t=<seconds>,sha256=<hex>`` over ``t.body``, with the checks in the order of Code Storage's SDKs."""
    header = _header(request, "X-Pierre-Signature")
    event_type = _header(request, "X-Pierre-Event")
    # The parts may come in any order, without blanks. Of a repeated part the last one counts.
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    sent, claimed = parts.get("t", ""), parts.get("sha256", "")
    if not sent or not claimed:
        raise VerificationFailed("Invalid signature header format", code="malformed_header")
    timestamp = read_seconds(sent)
    if timestamp is None:
        raise VerificationFailed("Invalid timestamp in signature", code="malformed_header")
    # Whole seconds, the resolution of the header's timestamp.
    age = request.now.replace(microsecond=0) - timestamp
    if request.tolerance and age > request.tolerance:
        raise VerificationFailed(f"Webhook timestamp too old ({age.total_seconds():.0f} seconds)", code="wrong_time")
    if request.tolerance and age < -MAX_CLOCK_SKEW:
        raise VerificationFailed("Webhook timestamp is in the future", code="wrong_time")
    signed = as_bytes(f"{sent}.") + request.body
    if not is_any([as_bytes(claimed)], [as_bytes(digest_of(key.encode(), signed).hex()) for key in request.secrets]):
        raise VerificationFailed("Invalid signature", code="wrong_signature")
    data = read_json(request.body, refusal="Invalid JSON payload")
    return Received(type=event_type, id=None, timestamp=timestamp, data=data)


def _header(request: Request, name: str) -> str:
    try:
        return request.header(name.lower())
    except VerificationFailed as failed:
        raise VerificationFailed(f"Missing or invalid {name} header", code=failed.code) from None

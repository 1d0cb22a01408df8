"""One function for each wire format that can be verified, and ``verify``, which finds the right one.

A new format costs one function and one line in ``FORMATS``.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

TOLERANCE = timedelta(minutes=5)


class VerificationFailed(Exception):
    """The request is not proven to be HookHub's, and must not be acted upon; the message says what was wrong."""


@dataclass(frozen=True)
class Received:
    """A verified event; ``id`` and ``timestamp`` are None where the format does not sign them.

    ``id`` is the same on every retry and redelivery of one delivery: remember it to act only once.
    """

    type: str
    id: str | None
    timestamp: datetime | None
    data: Any


@dataclass(frozen=True)
class Request:
    """What came in, with header names in lower case."""

    body: bytes
    headers: Mapping[str, str]
    secrets: Sequence[str]
    tolerance: timedelta
    now: datetime


@dataclass(frozen=True)
class VerifiableFormat:
    """How a format is recognised (by the header its signature is in) and verified."""

    signature_header: str
    verify: Callable[[Request], Received]


def verify(
    body: bytes,
    headers: Mapping[str, str],
    *,
    secrets: str | Sequence[str],
    format: str | None = None,  # noqa: A002 - the API's own word for it.
    tolerance: timedelta = TOLERANCE,
    now: datetime | None = None,
) -> Received:
    """Check a request's signature and return its event, or raise VerificationFailed.

    ``body`` is the request's body exactly as it came in: parsed and written again, it no longer matches. ``secrets``
    are all that may be in use (two while one is being rotated). Without ``format`` the headers tell which one it is.
    ``tolerance`` is how old a request may be where the format signs its time (``standard-webhooks``); a ``coregit``
    request can be replayed by whoever has seen it, so keep that one behind TLS.
    """
    if not isinstance(body, bytes):
        raise TypeError(f"verify() needs the raw bytes of the body, not {type(body).__name__}")
    request = Request(
        body=body,
        headers={name.lower(): value for name, value in headers.items()},
        secrets=_listed(secrets),
        tolerance=tolerance,
        now=now or datetime.now(UTC),
    )
    return _find(format, headers=request.headers).verify(request)


def verify_standard_webhooks(request: Request) -> Received:
    """Verify ``v1,<base64>`` signatures over ``id.timestamp.body`` (standardwebhooks.com)."""
    delivery = _header(request, "webhook-id")
    sent = _header(request, "webhook-timestamp")
    claimed = [
        _decoded(text)
        for version, _, text in (each.partition(",") for each in _header(request, "webhook-signature").split())
        if version == "v1"
    ]
    signed = f"{delivery}.{sent}.".encode() + request.body
    expected = [_hmac(standard_webhooks_key(secret), signed) for secret in request.secrets]
    _demand_match(claimed, expected)
    timestamp = _recent(sent, now=request.now, tolerance=request.tolerance)
    body = _parse(request.body, needs=("type", "data"))
    return Received(type=body["type"], id=delivery, timestamp=timestamp, data=body["data"])


def verify_coregit(request: Request) -> Received:
    """Verify ``sha256=<hex>`` over the raw body, with the secret's text as the key."""
    signature = _header(request, "x-coregit-signature")
    scheme, _, hexadecimal = signature.partition("=")
    if scheme != "sha256":
        raise VerificationFailed("The X-CoreGit-Signature header must start with 'sha256='.")
    expected = [_hmac(secret.encode(), request.body).hex().encode() for secret in request.secrets]
    _demand_match([hexadecimal.encode()], expected)
    body = _parse(request.body, needs=("event", "timestamp", "data"))
    try:
        timestamp = datetime.fromisoformat(body["timestamp"])
    except (TypeError, ValueError):
        raise VerificationFailed(f"The body's timestamp is not a time: {body['timestamp']!r}.") from None
    # Only headers name the delivery here, and nothing signs them.
    return Received(type=body["event"], id=None, timestamp=timestamp, data=body["data"])


FORMATS: Mapping[str, VerifiableFormat] = {
    "standard-webhooks": VerifiableFormat("webhook-signature", verify_standard_webhooks),
    "coregit": VerifiableFormat("x-coregit-signature", verify_coregit),
}


def standard_webhooks_key(secret: str) -> bytes:
    """Decode ``whsec_<base64>`` (prefix and padding optional); a secret of another form is the caller's ValueError."""
    text = secret.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("a standard-webhooks secret is 'whsec_' and base64, as HookHub showed it")
    return key


def _listed(secrets: str | Sequence[str]) -> Sequence[str]:
    listed = [secrets] if isinstance(secrets, str) else list(secrets)
    if not listed or not all(listed):
        # An empty key would verify whatever an attacker signs with an empty key.
        raise ValueError("verify() needs at least one secret, and none may be empty")
    return listed


def _find(name: str | None, *, headers: Mapping[str, str]) -> VerifiableFormat:
    if name is not None:
        if name not in FORMATS:
            raise ValueError(f"verify() knows the formats {', '.join(FORMATS)}, not {name!r}")
        return FORMATS[name]
    found = [each for each in FORMATS.values() if each.signature_header in headers]
    if len(found) == 1:
        return found[0]
    known = ", ".join(each.signature_header for each in FORMATS.values())
    # Guessing would let the sender choose the weaker of two.
    raise VerificationFailed(
        f"The request has signatures of several formats; tell verify() which one to expect ({', '.join(FORMATS)})."
        if found
        else f"The request has no signature header (looked for {known})."
    )


def _header(request: Request, name: str) -> str:
    value = request.headers.get(name, "").strip()
    if not value:
        raise VerificationFailed(f"The {name} header is missing.")
    return value


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _hmac(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).digest()


def _demand_match(claimed: Iterable[bytes], expected: Iterable[bytes]) -> None:
    expected = list(expected)
    if not any([hmac.compare_digest(ours, theirs) for theirs in claimed for ours in expected]):  # noqa: C419 - no early end.
        raise VerificationFailed(
            "No signature matches: the secret is not this webhook's, or the body was changed on the way."
        )


def _recent(sent: str, *, now: datetime, tolerance: timedelta) -> datetime:
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 11):
        raise VerificationFailed(f"The webhook-timestamp header is not a time in seconds: {sent[:40]!r}.")
    timestamp = datetime.fromtimestamp(int(sent), UTC)
    age = now - timestamp
    if abs(age) > tolerance:
        direction = "ago" if age > timedelta(0) else "in the future"
        raise VerificationFailed(
            f"The signature is right, but the request was signed {abs(age).total_seconds():.0f} seconds {direction}; "
            f"at most {tolerance.total_seconds():.0f} are allowed. It is a replay, or a clock is wrong."
        )
    return timestamp


def _parse(body: bytes, *, needs: Iterable[str]) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        raise VerificationFailed("The signature is right, but the body is not JSON.") from None
    missing = [name for name in needs if not isinstance(parsed, dict) or name not in parsed]
    if missing:
        raise VerificationFailed(f"The signature is right, but the body lacks {' and '.join(missing)}.")
    return dict(parsed)

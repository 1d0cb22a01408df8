"""The unverified request, and the steps that the verification of every format is composed of."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Union

# Far more than any header HookHub sends; a limit on the work that an unauthenticated request can cause.
MAX_HEADER_LENGTH = 8192
# Enough until the year 5138, and within the range of datetime.
MAX_SECONDS_LENGTH = 11

# What may surround a header's value. Python's own white space is more, and that of other languages is not the same.
WHITE_SPACE = " \t\r\n"

# RFC 3339: T and Z may be lower case, and seconds may have any number of decimals. Some Pythons accept the hour 24, or
# 60 minutes in a zone.
MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])(?:\.([0-9]{1,30}))?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)

# The headers of any framework: a value is a str, a list of them, or raw bytes.
Headers = Union[Mapping[str, Any], Iterable[tuple[Any, Any]]]


class VerificationFailed(Exception):
    """The request could not be verified as HookHub's and must be rejected; ``str()`` gives the reason.

    ``code`` (str) is the same in every language's SDK: ``missing_header``, ``malformed_header``, ``wrong_signature``,
    ``wrong_time`` (too old, or in the future), ``invalid_body`` (signed, but not what the format sends), or
    ``unknown_format``.
    """

    def __init__(self, message: str, *, code: str = "unknown_format") -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class Received:
    """A verified event.

    ``id`` (str) is the same on every retry and redelivery: store it to process an event only once. ``timestamp`` is a
    datetime with a time zone, the time of the request (``code-storage``, and the formats signed as
    ``standard-webhooks``) or of the event (``coregit``, ``codmir``). Both are None where the format does not sign them.
    ``data`` is the parsed JSON payload.

    ``type`` (str) is signed where it is part of the body (``standard-webhooks``, ``cloudevents``, ``mcp-event``,
    ``coregit``, ``codmir``). Elsewhere it comes from an unsigned header that anyone on the path can change, so check
    that ``data`` fits it. It is empty for ``websub``, whose requests do not say it.
    """

    type: str
    id: str | None
    timestamp: datetime | None
    data: Any


@dataclass(frozen=True)
class Request:
    """An unverified request and what to verify it with; ``headers`` maps lower-case names to all their values."""

    body: bytes
    headers: Mapping[str, tuple[str, ...]]
    secrets: Sequence[str]
    tolerance: timedelta
    max_event_age: timedelta | None
    now: datetime

    def header(self, name: str) -> str:
        """Return a header's value; raise VerificationFailed if it is missing, repeated or too long."""
        values = self.headers.get(name, ())
        if len(values) > 1:
            raise VerificationFailed(f"The {name} header is repeated.", code="malformed_header")
        value = values[0].strip(WHITE_SPACE) if values else ""
        if not value:
            raise VerificationFailed(f"The {name} header is missing or empty.", code="missing_header")
        if len(value) > MAX_HEADER_LENGTH:
            raise VerificationFailed(
                f"The {name} header is longer than {MAX_HEADER_LENGTH} characters.", code="malformed_header"
            )
        return value


def read_headers(headers: Headers) -> dict[str, tuple[str, ...]]:
    """Return all values of each header, by its lower-case name.

    ``headers`` is a mapping to str, bytes or lists of them, or an iterable of pairs in which names may repeat.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) or hasattr(headers, "items") else headers:
        key = _text(name).lower()
        values = value if isinstance(value, (list, tuple)) else (value,)
        found[key] = found.get(key, ()) + tuple(_text(one) for one in values if one is not None)
    return found


def digest_of(secret: bytes, content: bytes, *, algorithm: str = "sha256") -> bytes:
    """Return the HMAC of the content with an algorithm of hashlib."""
    return hmac.digest(secret, content, algorithm)


def is_any(claimed: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Return whether any claimed signature equals an expected one, in constant time."""
    return any([hmac.compare_digest(ours, theirs) for theirs in claimed for ours in expected])  # noqa: C419 - no short circuit.


def demand_match(claimed: Sequence[bytes], expected: Sequence[bytes]) -> None:
    """Raise VerificationFailed unless one of the claimed signatures is valid."""
    if not is_any(claimed, expected):
        raise VerificationFailed(
            "No signature matches: the secret is wrong, or the body was modified after it was signed.",
            code="wrong_signature",
        )


def demand_raw_body_signed(request: Request, *, header: str, algorithms: Sequence[str] = ("sha256",)) -> None:
    """Raise VerificationFailed unless the header is a valid ``<algorithm>=<hex>`` over the raw body.

    The HMAC key is the secret's text in UTF-8.
    """
    algorithm, _, hexadecimal = request.header(header).partition("=")
    if algorithm not in algorithms:
        wanted = " or ".join([f"'{one}='" for one in algorithms])
        raise VerificationFailed(f"The {header} header must start with {wanted}.", code="malformed_header")
    expected = [
        digest_of(secret.encode(), request.body, algorithm=algorithm).hex().encode() for secret in request.secrets
    ]
    demand_match([as_bytes(hexadecimal)], expected)


def as_bytes(text: str) -> bytes:
    """Encode untrusted text; a character that cannot be encoded becomes "?", which matches no signature."""
    return text.encode(errors="replace")


def read_seconds(text: str) -> datetime | None:
    """Parse a Unix timestamp in whole seconds; return None unless it consists of ASCII digits only."""
    is_plain = text.isascii() and text.isdigit() and len(text) <= MAX_SECONDS_LENGTH
    return datetime.fromtimestamp(int(text), timezone.utc) if is_plain else None


def read_json(body: bytes, *, refusal: str = "The signature is valid, but the body is not valid JSON.") -> Any:
    """Parse a JSON body in UTF-8; raise VerificationFailed."""
    try:
        # ``loads`` of bytes would guess another encoding, and NaN is not JSON: other parsers would refuse both.
        return json.loads(body.decode(), parse_constant=_no_constant)
    # JSON nested too deeply raises RecursionError instead of ValueError.
    except (ValueError, RecursionError):
        raise VerificationFailed(refusal, code="invalid_body") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def read_envelope(body: bytes, *, type_in: str, needs: Sequence[str]) -> dict[str, Any]:
    """Parse a JSON object with the field ``type_in`` (a string) and those in ``needs``; raise VerificationFailed."""
    parsed = read_json(body)
    missing = [name for name in (type_in, *needs) if not isinstance(parsed, dict) or name not in parsed]
    if missing:
        raise VerificationFailed(
            f"The signature is valid, but fields are missing from the body: {', '.join(missing)}.", code="invalid_body"
        )
    if not isinstance(parsed[type_in], str):
        raise VerificationFailed(
            f'The signature is valid, but "{type_in}" in the body is not a string.', code="invalid_body"
        )
    return dict(parsed)


def read_moment(value: object) -> datetime:
    """Parse an RFC 3339 timestamp; raise VerificationFailed."""
    found = MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        day, clock, decimals, zone = found.groups()
        zone = "+00:00" if zone in "Zz" else zone
        try:
            # ``fromisoformat`` of Python 3.9 accepts six decimals at most, and no "Z".
            return datetime.fromisoformat(f"{day}T{clock}.{(decimals or '')[:6]:0<6}{zone}")
        except ValueError:
            pass
    shown = repr(value[:40]) if isinstance(value, str) else type(value).__name__
    raise VerificationFailed(
        f'The signature is valid, but "timestamp" in the body is not an RFC 3339 time: {shown}.', code="invalid_body"
    )


def read_event_time(request: Request, value: object) -> datetime:
    """Parse the time of an event; raise VerificationFailed if it is older than ``max_event_age``, or in the future.

    For the formats that sign no time of the request. ``tolerance`` is the allowed clock skew into the future.
    """
    moment = read_moment(value)
    age = request.now - moment
    # A span as long as timedelta has no negative.
    if request.max_event_age is not None and (age > request.max_event_age or -age > request.tolerance):
        raise VerificationFailed(
            f"The signature is valid, but the event's time {moment.isoformat()} is in the future or more than "
            f"{request.max_event_age.total_seconds():.0f} seconds ago: the request is a replay, or a clock is wrong.",
            code="wrong_time",
        )
    return moment


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)

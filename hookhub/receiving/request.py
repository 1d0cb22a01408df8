"""A request that may be anybody's, and the steps that every way of verifying it is made of."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Union

# No header of ours comes near this; comparing more would be work for strangers.
HEADER_LONGEST = 8192
# Enough for any moment until the year 5138, and little enough for datetime.
SECONDS_LONGEST = 11

# RFC 3339: T and Z may be written in lower case, seconds have any number of decimals.
MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,30}))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

# What frameworks hand over: values are one text, several, or the bytes as they came.
Headers = Union[Mapping[str, Any], Iterable[tuple[Any, Any]]]


class VerificationFailed(Exception):
    """The request is not proven to be HookHub's, and must not be acted upon; the message says what was wrong."""


@dataclass(frozen=True)
class Received:
    """A verified event; ``id`` and ``timestamp`` are None where the format does not sign them.

    ``id`` is the same on every retry and redelivery: remember it to act only once. ``type`` is signed where the body
    holds it (``standard-webhooks``, ``coregit``, ``codmir``); elsewhere it is a header's word, so look at ``data`` too.
    """

    type: str
    id: str | None
    timestamp: datetime | None
    data: Any


@dataclass(frozen=True)
class Request:
    """What came in: each header's values under its name in lower case."""

    body: bytes
    headers: Mapping[str, tuple[str, ...]]
    secrets: Sequence[str]
    tolerance: timedelta
    max_event_age: timedelta | None
    now: datetime

    def header(self, name: str) -> str:
        """Give a header's value; one that is missing, doubled or endless proves nothing."""
        values = self.headers.get(name, ())
        if len(values) > 1:
            raise VerificationFailed(f"The {name} header came more than once.")
        value = values[0].strip() if values else ""
        if not value:
            raise VerificationFailed(f"The {name} header is missing.")
        if len(value) > HEADER_LONGEST:
            raise VerificationFailed(f"The {name} header is longer than {HEADER_LONGEST} characters.")
        return value


def read_headers(headers: Headers) -> dict[str, tuple[str, ...]]:
    """Collect headers of any framework: a mapping of texts, bytes or lists, or pairs in which a name may come twice."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) or hasattr(headers, "items") else headers:
        key = _text(name).lower()
        values = value if isinstance(value, (list, tuple)) else (value,)
        found[key] = found.get(key, ()) + tuple(_text(one) for one in values if one is not None)
    return found


def digest_of(secret: bytes, content: bytes) -> bytes:
    """Give the HMAC-SHA256 of the content."""
    return hmac.digest(secret, content, hashlib.sha256)


def is_any(claimed: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Tell whether a claimed signature is one of those expected; how long that takes tells nothing about either."""
    return any([hmac.compare_digest(ours, theirs) for theirs in claimed for ours in expected])  # noqa: C419 - no early end.


def demand_match(claimed: Sequence[bytes], expected: Sequence[bytes]) -> None:
    """Refuse a request none of whose signatures is right."""
    if not is_any(claimed, expected):
        raise VerificationFailed(
            "No signature matches: the secret is not this webhook's, or the body was changed on the way."
        )


def demand_raw_body_signed(request: Request, *, header: str) -> None:
    """Refuse a request without ``sha256=<hex>`` over its raw body, with the text of a secret as the key."""
    scheme, _, hexadecimal = request.header(header).partition("=")
    if scheme != "sha256":
        raise VerificationFailed(f"The {header} header must start with 'sha256='.")
    expected = [digest_of(secret.encode(), request.body).hex().encode() for secret in request.secrets]
    demand_match([as_bytes(hexadecimal)], expected)


def as_bytes(text: str) -> bytes:
    """Encode what a stranger wrote; what cannot be encoded becomes what can match nothing."""
    return text.encode(errors="replace")


def read_seconds(text: str) -> datetime | None:
    """Read whole seconds since 1970, or give None: no sign, fraction, blank, underscore or foreign digit."""
    is_plain = text.isascii() and text.isdigit() and len(text) <= SECONDS_LONGEST
    return datetime.fromtimestamp(int(text), timezone.utc) if is_plain else None


def read_json(body: bytes, *, refusal: str = "The signature is right, but the body is not JSON.") -> Any:
    """Parse a body, or refuse it."""
    try:
        return json.loads(body)
    # Brackets nested deeper than Python follows are no ValueError.
    except (ValueError, RecursionError):
        raise VerificationFailed(refusal) from None


def read_envelope(body: bytes, *, type_in: str, needs: Sequence[str]) -> dict[str, Any]:
    """Parse a body that is an object of certain fields, or refuse it."""
    parsed = read_json(body)
    missing = [name for name in (type_in, *needs) if not isinstance(parsed, dict) or name not in parsed]
    if missing:
        raise VerificationFailed(f"The signature is right, but the body lacks {' and '.join(missing)}.")
    if not isinstance(parsed[type_in], str):
        raise VerificationFailed(f"The signature is right, but the body's {type_in} is not a text.")
    return dict(parsed)


def read_moment(value: object) -> datetime:
    """Read a body's timestamp with its zone, or refuse it."""
    found = MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        day, clock, decimals, zone = found.groups()
        zone = "+00:00" if zone in "Zz" else zone
        try:
            # Python 3.9 reads six decimals, and no Z.
            return datetime.fromisoformat(f"{day}T{clock}.{(decimals or '')[:6]:0<6}{zone}")
        except ValueError:
            pass
    shown = repr(value[:40]) if isinstance(value, str) else f"a {type(value).__name__}"
    raise VerificationFailed(f"The body's timestamp is not a time: {shown}.")


def read_event_time(request: Request, value: object) -> datetime:
    """Read the time of an event whose format signs no other, and refuse one that is too old for the receiver."""
    moment = read_moment(value)
    age = request.now - moment
    if request.max_event_age is not None and not -request.tolerance <= age <= request.max_event_age:
        raise VerificationFailed(
            f"The signature is right, but the event happened at {moment.isoformat()}; at most "
            f"{request.max_event_age.total_seconds():.0f} seconds ago are allowed. It is a replay, or a clock is wrong."
        )
    return moment


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)

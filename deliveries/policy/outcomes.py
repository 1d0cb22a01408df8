"""The outcomes of an attempt, and their classification from the response."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal, get_args

from deliveries.formats import Format
from deliveries.formats.base import Verdict

# The longest Retry-After honored, whatever a receiver sends.
MAX_RETRY_AFTER = timedelta(hours=24)

NoResponseKind = Literal["timeout", "unreachable", "forbidden", "tls", "protocol", "unrenderable"]
# What exactly went wrong, more closely than the kind says. ``deliveries.explanations`` has a sentence for each.
Cause = Literal[
    "name_not_resolved", "name_timed_out", "connection_refused", "connection_failed", "connection_timed_out",
    "connection_closed", "out_of_resources", "address_blocked", "https_required",
    "certificate_expired", "certificate_untrusted", "certificate_for_other_name", "certificate_invalid",
    "client_certificate_demanded", "tls_failed",
    "response_timed_out", "response_incomplete", "response_not_http", "response_headers_too_long", "unrenderable",
]  # fmt: skip
CAUSES: tuple[str, ...] = get_args(Cause)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver accepted the delivery."""

    status: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The receiver responded, but not with success; ``retry_after`` is the wait that a 429 or 503 asked for.

    With ``is_final`` it rejected this particular message, so neither a retry nor disabling the webhook would help.
    """

    status: int
    retry_after: timedelta | None = None
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver asked for no further deliveries, ever."""

    status: int


@dataclass(frozen=True, slots=True)
class NoResponse:
    """There was no complete response; ``error`` says why to the webhook's owner, and ``cause`` to programs."""

    kind: NoResponseKind
    error: str
    cause: Cause | None = None


Outcome = Delivered | Failed | Gone | NoResponse


def classify(status: int, *, retry_after: str | None, body: bytes = b"", wire_format: Format, now: datetime) -> Outcome:
    """Return the outcome of a response, by the format's own rules if it has any for it, else by its status."""
    match wire_format.verdict_on(status, body) or verdict_on(status):
        case "delivered":
            return Delivered(status)
        case "gone":
            return Gone(status)
        case "reject":
            return Failed(status, is_final=True)
        case "retry":
            wait = read_retry_after(retry_after, now=now) if status in {429, 503} else None
            return Failed(status, wait)


def verdict_on(status: int) -> Verdict:
    """Return the default verdict on a status: 2xx is a success, 410 is final for the webhook, the rest is retried."""
    if 200 <= status <= 299:
        return "delivered"
    return "gone" if status == 410 else "retry"


def read_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Parse Retry-After, as seconds or a date (RFC 9110, 10.2.3); return a wait of 0 to 24 hours, None if invalid."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        # A number too large for a timedelta asks for the longest wait.
        return min(timedelta(seconds=int(value.lstrip("0")[:9] or "0")), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(timedelta(0), min(moment - now, MAX_RETRY_AFTER))

"""What one attempt can come to, read off the answer."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal

from deliveries.formats import Format
from deliveries.formats.base import Verdict

# Nobody may slow us for longer than this, whatever they ask.
RETRY_AFTER_MOST = timedelta(hours=24)

LossKind = Literal["timeout", "unreachable", "forbidden", "tls", "protocol", "unrenderable"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver took it."""

    status: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver answered, but not with success; ``retry_after`` is what a 429 or 503 asked for.

    A final one is about this very message, so that neither trying again nor disabling the webhook would help.
    """

    status: int
    retry_after: timedelta | None = None
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver said never to come again."""

    status: int


@dataclass(frozen=True, slots=True)
class Lost:
    """No complete answer came; ``error`` says why in words for the webhook's owner."""

    kind: LossKind
    error: str


Outcome = Delivered | Refused | Gone | Lost


def judge(status: int, *, retry_after: str | None, body: bytes = b"", wire_format: Format, now: datetime) -> Outcome:
    """Read an answer as an outcome, by its status and Retry-After header unless the format knows better."""
    match wire_format.judge(status, body) or verdict_on(status):
        case "delivered":
            return Delivered(status)
        case "gone":
            return Gone(status)
        case "rejected":
            return Refused(status, is_final=True)
        case "refused":
            patience = read_retry_after(retry_after, now=now) if status in {429, 503} else None
            return Refused(status, patience)


def verdict_on(status: int) -> Verdict:
    """Give what a status means where the format has no say: 2xx is success, 410 is for ever, all else a refusal."""
    if 200 <= status <= 299:
        return "delivered"
    return "gone" if status == 410 else "refused"


def read_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Read either form of Retry-After as a wait of 0 to 24 hours, or None when it is neither (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        # A number too long for a timedelta is still only a wish for the longest wait.
        return min(timedelta(seconds=int(value.lstrip("0")[:9] or "0")), RETRY_AFTER_MOST)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(timedelta(0), min(moment - now, RETRY_AFTER_MOST))

"""What a wire format is: a pure way from a delivery to the headers and bytes that are sent."""

import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal, NamedTuple

Verdict = Literal["delivered", "refused", "gone"]


class Message(NamedTuple):
    """All that a format may put on the wire for one attempt of one delivery.

    ``payload`` is the event's data as the publisher wrote it: bytes of one JSON value. ``secrets`` are the live ones,
    newest first. ``occurred_at`` belongs to the event and never changes; ``sent_at`` is the moment of this attempt.
    """

    delivery_id: str
    attempt: int
    event_id: str
    event_type: str
    payload: bytes
    occurred_at: datetime
    sent_at: datetime
    organization: str
    repository: str | None
    webhook_id: str
    content_type: str
    secrets: tuple[str, ...]


class Rendered(NamedTuple):
    """The headers and the body of one request, complete but for what the webhook's owner adds."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Policy:
    """What a format's own documentation promises its receivers; None leaves it to the deployment."""

    timeout: timedelta | None = None
    retry_schedule: tuple[timedelta, ...] | None = None
    auto_disable: bool = True


class Format(ABC):
    """One wire format. The registry in ``deliveries.formats`` names them all."""

    slug: ClassVar[str]
    title: ClassVar[str]
    content_types: ClassVar[tuple[str, ...]] = ("json",)
    policy: ClassVar[Policy] = Policy()
    # Names that an owner's custom headers may not take, in lower case.
    own_headers: ClassVar[frozenset[str]]

    @abstractmethod
    def render(self, message: Message) -> Rendered:
        """Turn a message into the request that carries it."""

    def judge(self, status: int) -> Verdict | None:
        """Overrule what a status means, or leave it to the engine with None."""
        del status
        return None

    def make_secret(self) -> str:
        """Make a new secret in the form this format's receivers expect."""
        return "whsec_" + secrets.token_hex(24)

    def fault_in_secret(self, secret: str) -> str | None:
        """Say what is wrong with a secret that an owner brings, or None."""
        return None if 8 <= len(secret) <= 255 and secret.isprintable() else "use 8 to 255 printable characters"


def stamp(moment: datetime, *, milliseconds: bool = False) -> str:
    """Write a moment as RFC 3339 in UTC with a Z, to the second or the millisecond."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return f"{text[:-6]}Z"

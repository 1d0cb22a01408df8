"""What a wire format is: a pure way from a delivery to the headers and bytes that are sent."""

import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal, NamedTuple
from urllib.parse import urlsplit

# ``rejected`` is a refusal of this one message that no further try would change; ``gone`` is one of all that may come.
Verdict = Literal["delivered", "refused", "rejected", "gone"]

# What is shown in place of a secret.
MASK = "********"


class Message(NamedTuple):
    """All that a format may put on the wire for one attempt of one delivery.

    ``payload`` is the event's data as the publisher wrote it: bytes of one JSON value. ``secrets`` are the live ones,
    newest first; there is always one unless ``Format.signs`` says otherwise. ``occurred_at`` belongs to the event and
    never changes; ``sent_at`` is the moment of this attempt. ``webhook_number`` is for systems whose ids are integers,
    and ``scope_number`` is that of the organization or the repository whose webhook it is.
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
    webhook_number: int
    scope: Literal["organization", "repository"]
    scope_number: int
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
    # Whether a webhook of this format has a secret: each one, those whose owners want it, or none.
    signs: ClassVar[Literal["always", "if asked", "never"]] = "always"
    # Whether the URL alone lets anybody post, so that it is shown to nobody.
    url_is_secret: ClassVar[bool] = False

    @abstractmethod
    def render(self, message: Message) -> Rendered:
        """Turn a message into the request that carries it."""

    def judge(self, status: int, body: bytes = b"") -> Verdict | None:
        """Overrule what an answer means, or leave it to the engine with None; ``body`` may be cut off."""
        del status, body
        return None

    def show_url(self, url: str) -> str:
        """Return a webhook's URL as it may be shown: without its path where that is a secret, query values masked.

        What is masked already stays as it is.
        """
        if not self.url_is_secret:
            return mask_query(url)
        return mask_path(url)

    def make_secret(self) -> str:
        """Make a new secret in the form this format's receivers expect."""
        return "whsec_" + secrets.token_hex(24)

    def fault_in_secret(self, secret: str) -> str | None:
        """Say what is wrong with a secret that an owner brings, or None."""
        return None if 8 <= len(secret) <= 255 and secret.isprintable() else "use 8 to 255 printable characters"


def mask_path(url: str) -> str:
    """Return no more of a URL than its scheme and host."""
    scheme, host, *_ = urlsplit(url)
    return f"{scheme}://{host}/{MASK}"


def mask_query(url: str) -> str:
    """Return a URL with a mask for each value of its query, which may be a token; names stay."""
    before, mark, query = url.partition("?")
    parts = [f"{part.partition('=')[0]}={MASK}" if "=" in part else part and MASK for part in query.split("&")]
    return before + mark + "&".join(parts)


def stamp(moment: datetime, *, milliseconds: bool = False) -> str:
    """Write a moment as RFC 3339 in UTC with a Z, to the second or the millisecond."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return f"{text[:-6]}Z"

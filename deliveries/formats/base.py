"""The base class of wire formats: pure functions from a delivery to the headers and bytes of the request."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, Literal, NamedTuple

from deliveries.formats.body_schemas import Schema
from deliveries.formats.masking import mask_path, mask_query
from deliveries.formats.policies import Policy, SecretPolicy

# ``retry``: the attempt failed and may be retried. ``reject``: this message would fail on every retry. ``gone``:
# every later message would fail, too.
Verdict = Literal["delivered", "retry", "reject", "gone"]


class Message(NamedTuple):
    """The input of ``Format.render``: everything that a format can send in one attempt of one delivery.

    ``payload`` is the event's data, one JSON value, byte for byte as published. ``secrets`` are the live ones, newest
    first; there is at least one, unless ``Format.secret_policy`` allows none. ``occurred_at`` is the event's time and
    the same in all attempts; ``sent_at`` is the time of this attempt. ``webhook_number`` and ``scope_number`` are
    integer ids: of the webhook, and of its organization or repository. ``subscription`` has the ``topic`` and ``hub``
    of a subscriber at a hub, and the ``algorithm`` that signs.
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
    subscription: dict[str, str] | None = None


class Rendered(NamedTuple):
    """The headers and the body of one request, without the owner's custom headers."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


class Format(ABC):
    """One wire format. ``deliveries.formats.FORMATS`` lists all of them."""

    slug: ClassVar[str]
    title: ClassVar[str]
    content_types: ClassVar[tuple[str, ...]] = ("json",)
    policy: ClassVar[Policy] = Policy()
    # Headers that the format sends itself and custom headers must not override, in lower case.
    reserved_headers: ClassVar[frozenset[str]]
    secret_policy: ClassVar[SecretPolicy] = SecretPolicy.REQUIRED
    # Whether knowing the URL is enough to post to the receiver, so that it must be masked.
    url_is_secret: ClassVar[bool] = False
    # For the API's description: what a header is for, by its name as it is sent.
    header_notes: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def render(self, message: Message) -> Rendered:
        """Return the headers and body of the request for ``message``."""

    def body_schema(self, data: Schema) -> Schema:
        """Return the JSON Schema of a body in JSON, for the API's description; ``data`` is that of the event's data."""
        return data

    def verdict_on(self, status: int, body: bytes = b"") -> Verdict | None:
        """Return this format's verdict on a response, or None for the engine's default. ``body`` may be truncated."""
        return None

    def show_url(self, url: str) -> str:
        """Return a URL with its secret parts masked: query values and, if ``url_is_secret``, the whole path.

        A URL that is already masked stays as it is.
        """
        return mask_path(url) if self.url_is_secret else mask_query(url)

    def make_secret(self) -> str:
        """Return a new random secret in the form that this format's receivers expect."""
        return "whsec_" + secrets.token_hex(24)

    def secret_error(self, secret: str) -> str | None:
        """Return what is wrong with a secret that an owner supplies, or None if it is valid."""
        return None if 8 <= len(secret) <= 255 and secret.isprintable() else "must be 8 to 255 printable characters"


def stamp(moment: datetime, *, milliseconds: bool = False) -> str:
    """Return a time as RFC 3339 in UTC with a Z, to the second or the millisecond."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return f"{text[:-6]}Z"

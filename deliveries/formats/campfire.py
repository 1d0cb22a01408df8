"""Campfire's wire format: a summary of the event as one line of plain text, for a chat room."""

from deliveries.compact_json import encode
from deliveries.formats.base import Format, Message, Rendered, Verdict
from deliveries.formats.body_schemas import TEXT, Schema, object_of
from deliveries.formats.policies import SecretPolicy
from deliveries.formats.summary import Summary, summarise
from deliveries.formats.text import fit
from deliveries.version import USER_AGENT

MAX_LINE, MAX_URL = 1000, 1000

# A revoked token stays revoked, and the number of a deleted room is not reused.
VERDICTS: dict[int, Verdict] = {401: "gone", 403: "gone", 404: "gone"}


class Campfire(Format):
    """Unsigned: a custom header carries the bot's token as the user name of Basic authentication."""

    slug = "campfire"
    title = "Campfire"
    reserved_headers = frozenset({"content-type", "user-agent"})
    secret_policy = SecretPolicy.NONE

    def render(self, message: Message) -> Rendered:
        body = {"message": {"type": "TextMessage", "body": write(summarise(message))}}
        return Rendered(
            headers=(("Content-Type", "application/json"), ("User-Agent", USER_AGENT)),
            body=encode(body),
        )

    def body_schema(self, data: Schema) -> Schema:
        return object_of(message=object_of(type={"const": "TextMessage"}, body=TEXT))

    def verdict_on(self, status: int, body: bytes = b"") -> Verdict | None:
        return VERDICTS.get(status)


def write(summary: Summary) -> str:
    """Return a summary as one line: Campfire shows several lines as a block in which URLs are not links."""
    text = ": ".join(part for part in (summary.headline, summary.title) if part)
    line = fit(" ".join(f"[{summary.source}] {text}".split()), MAX_LINE, escape=str)
    return f"{line} {summary.url}" if summary.url and len(summary.url) <= MAX_URL else line

"""Discord's wire format: a summary of the event as an embed within Discord's limits."""

import re
from datetime import datetime

from deliveries.compact_json import encode
from deliveries.formats.base import Format, Message, Rendered, Verdict, stamp
from deliveries.formats.body_schemas import TEXT, Schema, object_of
from deliveries.formats.policies import SecretPolicy
from deliveries.formats.summary import Line, Summary, summarise
from deliveries.formats.text import fit
from deliveries.version import USER_AGENT

# Each is within Discord's limit for the part, and their sum is below the limit of 6,000 for one message.
MAX_TITLE, MAX_AUTHOR, MAX_FIELD, MAX_LINE = 256, 256, 250, 150
MAX_DESCRIPTION = 4096
# Discord's limit is lower for text with characters outside the BMP.
MAX_ASTRAL = 2000
MAX_TITLE_IN_DESCRIPTION = 300

# A wrong token stays wrong, a deleted webhook stays deleted, and a rejected message would be rejected again.
VERDICTS: dict[int, Verdict] = {400: "reject", 401: "gone", 403: "gone", 404: "gone"}

# URLs are not escaped, because Discord would read the backslashes as part of the URL.
MARKDOWN = re.compile(
    r"(https?://[^\s<>`|*\\\[\]]+)|([\\`*_~|\[\]<@])|^([ ]*)([-+#>])|^([ ]*[0-9]+)([.)])", re.MULTILINE
)


class Discord(Format):
    """Unsigned: knowing the URL is enough to post, so the URL is the secret."""

    slug = "discord"
    title = "Discord"
    reserved_headers = frozenset({"content-type", "user-agent"})
    secret_policy = SecretPolicy.NONE
    url_is_secret = True

    def render(self, message: Message) -> Rendered:
        # The event's text must not notify anyone by a mention.
        body = {"embeds": [write(summarise(message))], "allowed_mentions": {"parse": []}}
        return Rendered(
            headers=(("Content-Type", "application/json"), ("User-Agent", USER_AGENT)),
            body=encode(body),
        )

    def body_schema(self, data: Schema) -> Schema:
        mentions = object_of(parse={"type": "array", "items": TEXT, "maxItems": 0})
        return object_of(embeds={"type": "array", "items": {"type": "object"}}, allowed_mentions=mentions)

    def verdict_on(self, status: int, body: bytes = b"") -> Verdict | None:
        return VERDICTS.get(status)


def write(summary: Summary) -> dict[str, object]:
    """Return a summary as a Discord embed."""
    author = {"name": fit(summary.source, MAX_AUTHOR, escape=str), "url": summary.source_url}
    embed: dict[str, object] = {
        "author": {name: value for name, value in author.items() if value},
        "title": fit(summary.headline, MAX_TITLE, escape=escape),
        "url": summary.url,
        "description": _description(summary),
        "fields": [
            {"name": name, "value": fit(value, MAX_FIELD, escape=escape), "inline": True}
            for name, value in summary.fields
        ],
        "color": summary.colour,
        "timestamp": _moment(summary.happened_at),
    }
    # Discord rejects empty fields.
    return {name: value for name, value in embed.items() if value}


def escape(text: str) -> str:
    """Return the text with Discord's Markdown escaped, including characters special only at the start of a line."""
    return MARKDOWN.sub(_escaped, text)


def _escaped(found: "re.Match[str]") -> str:
    url, anywhere, before, opening, number, dot = found.groups()
    if url:
        return str(url)
    return rf"\{anywhere}" if anywhere else rf"{before or number or ''}\{opening or dot}"


def _description(summary: Summary) -> str:
    title = fit(summary.title, MAX_TITLE_IN_DESCRIPTION, escape=escape)
    opening = [f"**{title}**"] if title else []
    more = [escape(summary.text)] if summary.lines and summary.text else []
    if summary.lines:
        linked = "\n".join([*opening, *(_line(line, url=line.url) for line in summary.lines), *more])
        plain = "\n".join([*opening, *(_line(line) for line in summary.lines), *more])
        return linked if len(linked) <= _room(linked) else plain
    if not summary.text:
        return "".join(opening)
    room = _room(title + summary.text) - len("".join(opening)) * 2 - len("\n\n")
    return "\n\n".join([*opening, fit(summary.text, room, escape=escape)])


def _room(text: str) -> int:
    return MAX_ASTRAL if any(character > "\uffff" for character in text) else MAX_DESCRIPTION


def _line(line: Line, *, url: str = "") -> str:
    label = escape(line.label) or "commit"
    return f"{f'[{label}]({url})' if url else label} {fit(line.text, MAX_LINE, escape=escape)}".strip()


def _moment(text: str) -> str:
    """Return a time in the form that Discord accepts, or "" if ``text`` is no time with a zone."""
    try:
        moment = datetime.fromisoformat(text)
        return stamp(moment, milliseconds=True) if moment.tzinfo else ""
    except (ValueError, OverflowError):
        return ""

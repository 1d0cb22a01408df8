"""Slack's incoming webhooks: a summary of the event as a message within Slack's limits."""

import json
import re

from deliveries.compact_json import encode
from deliveries.formats.base import Format, Message, Rendered, Verdict
from deliveries.formats.body_schemas import TEXT, Schema, object_of
from deliveries.formats.policies import SecretPolicy
from deliveries.formats.summary import Line, Summary, summarise
from deliveries.formats.text import fit
from deliveries.version import USER_AGENT

# Lengths up to which Slack neither truncates nor refuses. Two links with their texts fit into one section.
MAX_TEXT, MAX_SECTION, MAX_FIELD, MAX_URL = 3000, 3000, 300, 1000
MAX_SOURCE, MAX_HEADLINE, MAX_TITLE, MAX_LINE = 200, 500, 300, 150

# 400 and 403 concern this message and would recur on every retry; 404 and 410 mean that the webhook was removed.
VERDICTS: dict[int, Verdict] = {400: "reject", 403: "reject", 404: "gone", 410: "gone"}
# A response that only reports success is far shorter than this.
MAX_ANSWER = 16 << 10
ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Slack(Format):
    """Unsigned: knowing the URL is enough to post, so the URL is the secret."""

    slug = "slack"
    title = "Slack"
    reserved_headers = frozenset({"content-type", "user-agent"})
    secret_policy = SecretPolicy.NONE
    url_is_secret = True

    def render(self, message: Message) -> Rendered:
        return Rendered(
            headers=(("Content-Type", "application/json"), ("User-Agent", USER_AGENT)),
            body=encode(write(summarise(message))),
        )

    def body_schema(self, data: Schema) -> Schema:
        message = object_of(text=TEXT, blocks={"type": "array", "items": {"type": "object"}})
        attachments = {"type": "array", "items": {"type": "object"}}
        return {**message, "properties": {**message["properties"], "attachments": attachments}}

    def verdict_on(self, status: int, body: bytes = b"") -> Verdict | None:
        # A 2xx with another body comes from something in front of Slack, such as a proxy.
        if 200 <= status <= 299:
            return "delivered" if body.strip().lower() == b"ok" or reports_success(body) else "retry"
        return VERDICTS.get(status)


def reports_success(body: bytes) -> bool:
    """Return whether a JSON response reports that the message was posted, as those of chats like Slack do.

    Rocket.Chat says ``"success": true``, Zulip ``"result": "success"``, and others ``"status": "ok"``.
    """
    if len(body) > MAX_ANSWER or not body.lstrip().startswith(b"{"):
        return False
    try:
        response = json.loads(body)
    except (ValueError, RecursionError):
        return False
    flags = [response[name] for name in ("ok", "success") if name in response]
    if flags:
        return all(flag is True for flag in flags)
    return any(str(response.get(name)).lower() in {"ok", "success"} for name in ("result", "status"))


def write(summary: Summary) -> dict[str, object]:
    """Return a summary as a Slack message: the headline as a section, the rest as an attachment with a colored bar."""
    whole = f"{summary.source}: {summary.headline}" + (f": {summary.title}" if summary.title else "")
    headline = fit(summary.headline, MAX_HEADLINE, escape=escape)
    # If there is a title, it carries the link.
    linked = headline if summary.title else link(summary.url, headline)
    opening = f"*{link(summary.source_url, fit(summary.source, MAX_SOURCE, escape=escape))}*: {linked}"
    fallback = fit(whole, MAX_TEXT, escape=escape)
    section = {"type": "section", "text": {"type": "mrkdwn", "text": opening}}
    attachment: dict[str, object] = {}
    if summary.title:
        attachment["title"] = fit(summary.title, MAX_TITLE, escape=escape)
        if summary.url:
            attachment["title_link"] = summary.url
    if text := _text_of(summary):
        attachment["text"] = text
    if summary.fields:
        attachment["fields"] = [
            {"title": name, "value": fit(value, MAX_FIELD, escape=escape), "short": True}
            for name, value in summary.fields
        ]
    body: dict[str, object] = {"text": fallback, "blocks": [section]}
    return (
        {**body, "attachments": [{"color": f"#{summary.colour:06x}", "fallback": fallback, **attachment}]}
        if attachment
        else body
    )


def escape(text: str) -> str:
    """Return the text with Slack's three special characters escaped, which also disables mentions and links."""
    return re.sub("[&<>]", lambda found: ESCAPES[found[0]], text)


def link(url: str, text: str) -> str:
    """Return a link around escaped text, or the text alone if there is no URL or it is longer than MAX_URL."""
    target = escape(url)
    # A vertical bar separates URL and text and cannot be escaped, so replace it in the text.
    return f"<{target}|{text.replace('|', '¦')}>" if 0 < len(target) <= MAX_URL and text else text


def _text_of(summary: Summary) -> str:
    """Return the summary's text, or its commits one per line, with links if all of them fit."""
    if not summary.lines:
        return fit(summary.text, MAX_SECTION, escape=escape)
    more = [escape(summary.text)] if summary.text else []
    linked = "\n".join([_line(line, url=line.url) for line in summary.lines] + more)
    return linked if len(linked) <= MAX_SECTION else "\n".join([_line(line) for line in summary.lines] + more)


def _line(line: Line, *, url: str = "") -> str:
    return f"{link(url, escape(line.label))} {fit(line.text, MAX_LINE, escape=escape)}".strip()

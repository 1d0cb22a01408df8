"""Slack's incoming webhooks: a summary of the event as a message within Slack's limits."""

import json
import re

from deliveries.compact_json import encode
from deliveries.formats.base import Format, Message, Rendered, SecretPolicy, Verdict
from deliveries.formats.summary import Line, Summary, summarise
from deliveries.formats.text import fit
from deliveries.version import USER_AGENT

# Lengths up to which Slack neither truncates nor refuses. Two links with their texts fit into one section.
MAX_TEXT, MAX_SECTION, MAX_FIELD, MAX_URL = 3000, 3000, 300, 1000
MAX_PLACE, MAX_HEADLINE, MAX_TITLE, MAX_LINE = 200, 500, 300, 150

# 400 and 403 concern this message and would recur on every retry; 404 and 410 mean that the webhook was removed.
VERDICTS: dict[int, Verdict] = {400: "rejected", 403: "rejected", 404: "gone", 410: "gone"}
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

    def verdict_on(self, status: int, body: bytes = b"") -> Verdict | None:
        # A 2xx with another body comes from something in front of Slack, such as a proxy.
        if 200 <= status <= 299:
            return "delivered" if body.strip() == b"ok" or says_success(body) else "refused"
        return VERDICTS.get(status)


def says_success(body: bytes) -> bool:
    """Return whether a JSON response reports that the message was posted, as Rocket.Chat's and Zulip's do."""
    if len(body) > MAX_ANSWER or not body.lstrip().startswith(b"{"):
        return False
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return said.get("ok") is True or said.get("success") is True or said.get("result") == "success"


def write(said: Summary) -> dict[str, object]:
    """Return a summary as a Slack message: the headline as a section, the rest as an attachment with a colored bar."""
    whole = f"{said.place}: {said.headline}" + (f": {said.title}" if said.title else "")
    headline = fit(said.headline, MAX_HEADLINE, escape=escape)
    # If there is a title, it carries the link.
    told = headline if said.title else link(said.url, headline)
    opening = f"*{link(said.place_url, fit(said.place, MAX_PLACE, escape=escape))}*: {told}"
    fallback = fit(whole, MAX_TEXT, escape=escape)
    section = {"type": "section", "text": {"type": "mrkdwn", "text": opening}}
    beside: dict[str, object] = {}
    if said.title:
        beside["title"] = fit(said.title, MAX_TITLE, escape=escape)
        if said.url:
            beside["title_link"] = said.url
    if text := _text_of(said):
        beside["text"] = text
    if said.fields:
        beside["fields"] = [
            {"title": name, "value": fit(value, MAX_FIELD, escape=escape), "short": True} for name, value in said.fields
        ]
    body: dict[str, object] = {"text": fallback, "blocks": [section]}
    return (
        {**body, "attachments": [{"color": f"#{said.colour:06x}", "fallback": fallback, **beside}]} if beside else body
    )


def escape(text: str) -> str:
    """Return the text with Slack's three special characters escaped, which also disables mentions and links."""
    return re.sub("[&<>]", lambda found: ESCAPES[found[0]], text)


def link(url: str, text: str) -> str:
    """Return a link around escaped text, or the text alone if there is no URL or it is longer than MAX_URL."""
    target = escape(url)
    # A vertical bar separates URL and text and cannot be escaped, so replace it in the text.
    return f"<{target}|{text.replace('|', '¦')}>" if 0 < len(target) <= MAX_URL and text else text


def _text_of(said: Summary) -> str:
    """Return the summary's text, or its commits one per line, with links if all of them fit."""
    if not said.lines:
        return fit(said.text, MAX_SECTION, escape=escape)
    more = [escape(said.text)] if said.text else []
    linked = "\n".join([_line(line, url=line.url) for line in said.lines] + more)
    return linked if len(linked) <= MAX_SECTION else "\n".join([_line(line) for line in said.lines] + more)


def _line(line: Line, *, url: str = "") -> str:
    return f"{link(url, escape(line.label))} {fit(line.text, MAX_LINE, escape=escape)}".strip()

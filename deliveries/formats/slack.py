"""Slack's incoming webhooks: what happened, in words, within Slack's limits."""

import json
import re

from deliveries.compact_json import encode
from deliveries.formats.base import Format, Message, Rendered, Verdict
from deliveries.formats.summary import Line, Summary, summarise
from deliveries.formats.text import fit

# What Slack cuts or refuses; two links and their texts fit together into one section.
TEXT_MOST, SECTION_MOST, FIELD_MOST, URL_MOST = 3000, 3000, 300, 1000
PLACE_MOST, HEADLINE_MOST, TITLE_MOST, LINE_MOST = 200, 500, 300, 150

# 400 and 403 are about this message and no repetition mends them; 404 and 410 say that the webhook is no more.
VERDICTS: dict[int, Verdict] = {400: "rejected", 403: "rejected", 404: "gone", 410: "gone"}
# An answer that only says whether it went well is shorter by far.
ANSWER_MOST = 16 << 10
ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Slack(Format):
    """Nothing is signed: whoever knows the URL may post, so the URL is the secret."""

    slug = "slack"
    title = "Slack"
    own_headers = frozenset({"content-type", "user-agent"})
    signs = "never"
    url_is_secret = True

    def render(self, message: Message) -> Rendered:
        return Rendered(
            headers=(("Content-Type", "application/json"), ("User-Agent", "HookHub/1.0")),
            body=encode(write(summarise(message))),
        )

    def judge(self, status: int, body: bytes = b"") -> Verdict | None:
        # What answers 200 with something else is not Slack but something in front of it.
        if 200 <= status <= 299:
            return "delivered" if body.strip() == b"ok" or says_success(body) else "refused"
        return VERDICTS.get(status)


def says_success(body: bytes) -> bool:
    """Return whether a JSON answer says that the message was posted, as Rocket.Chat's and Zulip's do."""
    if len(body) > ANSWER_MOST or not body.lstrip().startswith(b"{"):
        return False
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return said.get("ok") is True or said.get("success") is True or said.get("result") == "success"


def write(said: Summary) -> dict[str, object]:
    """Write a summary as a message: a line of its own, and what there is to read beside a coloured bar."""
    whole = f"{said.place}: {said.headline}" + (f": {said.title}" if said.title else "")
    headline = fit(said.headline, HEADLINE_MOST, escape=escape)
    # With a title the link is on that.
    told = headline if said.title else link(said.url, headline)
    opening = f"*{link(said.place_url, fit(said.place, PLACE_MOST, escape=escape))}*: {told}"
    fallback = fit(whole, TEXT_MOST, escape=escape)
    section = {"type": "section", "text": {"type": "mrkdwn", "text": opening}}
    beside: dict[str, object] = {}
    if said.title:
        beside["title"] = fit(said.title, TITLE_MOST, escape=escape)
        if said.url:
            beside["title_link"] = said.url
    if text := _text_of(said):
        beside["text"] = text
    if said.fields:
        beside["fields"] = [
            {"title": name, "value": fit(value, FIELD_MOST, escape=escape), "short": True}
            for name, value in said.fields
        ]
    body: dict[str, object] = {"text": fallback, "blocks": [section]}
    return (
        {**body, "attachments": [{"color": f"#{said.colour:06x}", "fallback": fallback, **beside}]} if beside else body
    )


def escape(text: str) -> str:
    """Escape Slack's three characters, without which nobody can write a mention or a link."""
    return re.sub("[&<>]", lambda found: ESCAPES[found[0]], text)


def link(url: str, text: str) -> str:
    """Write a link around escaped text; without a URL, or with a monstrous one, the text alone."""
    target = escape(url)
    # A bar would end the link's text early where it stands in the text, which no escape prevents.
    return f"<{target}|{text.replace('|', '¦')}>" if 0 < len(target) <= URL_MOST and text else text


def _text_of(said: Summary) -> str:
    """Give the body, or the commits one a line: with links if all of them have room for theirs."""
    if not said.lines:
        return fit(said.text, SECTION_MOST, escape=escape)
    more = [escape(said.text)] if said.text else []
    linked = "\n".join([_line(line, url=line.url) for line in said.lines] + more)
    return linked if len(linked) <= SECTION_MOST else "\n".join([_line(line) for line in said.lines] + more)


def _line(line: Line, *, url: str = "") -> str:
    return f"{link(url, escape(line.label))} {fit(line.text, LINE_MOST, escape=escape)}".strip()

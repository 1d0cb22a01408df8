"""Alerts as e-mails and as messages of chats: within the limits, and a name in them does nothing."""

import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from slack_sdk.models.blocks import Block
from standardwebhooks import Webhook as Verifier

from deliveries.formats import format_of
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.exchange import Exchange, Response
from hookhub.alerts import rendering
from hookhub.alerts.queue import MAX_DELAY, MIN_DELAY, Postponed, Rejected, Result, Sent, delay_after
from hookhub.alerts.sending import result_of
from hookhub.alerts.wording import Wording

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
HOSTILE = "<!channel> <script>alert(1)</script> & [a](https://evil.example) **b** @here {{ x }} &lt;"
PLAIN = Wording(
    subject="acme: webhook failing, 70 %",
    headline=f"The webhook {HOSTILE} of acme keeps failing: 70 % of what disables it is used up.",
    facts=(("ID", "019cb8b8"), ("URL", f"https://ci.example/{HOSTILE}"), ("Failed attempts", "5 in a row")),
    happened=f"The receiver answered: {HOSTILE}",
    advice="Repair it.",
    next_step="If it does not recover before, it is disabled.",
    call="curl -X POST https://hub.example/v1/webhooks \\\n     -d '{}'",
)
LONG = Wording(
    "s", "h" * 5000, (("URL", "&" * 5000), *((f"Fact {n}", "🎉" * 3000) for n in range(4))), "x" * 9000, "<" * 9000
)
MANY = Wording("s", "h", tuple((HOSTILE * 3, "🎉" * 3000) for _ in range(100)), next_step="n", unlisted=400)
EMPTY = Wording("acme: test alert", "This is a test.")


class Tags(HTMLParser):
    """Collects the names of all tags and attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _ in attrs)}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_email_has_the_same_in_text_and_in_html_and_loads_nothing() -> None:
    text, html = rendering.email(PLAIN)

    assert text.splitlines()[:6] == [
        PLAIN.headline,
        "",
        "  ID                019cb8b8",
        f"  URL               https://ci.example/{HOSTILE}",
        "  Failed attempts   5 in a row",
        "",
    ]
    assert f"The last attempt: {PLAIN.happened}\nWhat to do: Repair it.\n" in text
    assert PLAIN.call in text
    page = Tags()
    page.feed(html)
    assert page.found == {
        "html", "lang", "head", "meta", "charset", "title", "body", "style", "h1", "table", "tr", "th", "scope", "td",
        "p", "br", "b", "pre",
    }  # fmt: skip
    for part in (PLAIN.subject, PLAIN.headline, PLAIN.happened, PLAIN.advice, PLAIN.next_step, PLAIN.call):
        assert part in page.text
    assert "<script" not in html


@pytest.mark.parametrize("wording", [PLAIN, LONG, EMPTY, MANY], ids=["plain", "long", "empty", "many"])
def test_slack_accepts_a_message_and_it_mentions_no_one(wording: Wording) -> None:
    message = json.loads(rendering.slack(wording))

    blocks = [block for block in Block.parse_all(message["blocks"]) if block is not None]
    assert len(blocks) == len(message["blocks"])
    for block in blocks:
        block.validate_json()
    for field in [field for block in message["blocks"] for field in block.get("fields", [])]:
        assert len(field["text"]) <= 2000
    assert 0 < len(message["text"]) <= 4000
    assert "<" not in json.dumps(message)
    assert ">" not in json.dumps(message)


def texts_in(element: Any) -> list[str]:
    match element:
        case {"type": "TextRun", "text": str(text)}:
            return [text]
        case dict():
            return [text for value in element.values() for text in texts_in(value)]
        case list():
            return [text for value in element for text in texts_in(value)]
    return []


def test_of_many_facts_a_chat_gets_some_and_the_number_of_the_others() -> None:
    slack, teams = json.loads(rendering.slack(MANY)), json.loads(rendering.teams(MANY))
    text, _html = rendering.email(MANY)

    sections = [block["fields"] for block in slack["blocks"] if "fields" in block]
    assert [len(fields) for fields in sections] == [10, 10]
    assert sections[-1][-1]["text"] == "…\nand 481 more"
    assert texts_in(teams)[-2:] == ["…: ", "and 481 more"]
    assert text.splitlines()[102].split() == ["…", "and", "400", "more"]


@pytest.mark.parametrize("wording", [PLAIN, LONG, EMPTY, MANY], ids=["plain", "long", "empty", "many"])
def test_teams_gets_an_adaptive_card_whose_texts_have_no_markup(wording: Wording) -> None:
    body = rendering.teams(wording)
    message = json.loads(body)

    assert len(body) < 28_000
    assert message["type"] == "message"
    [attachment] = message["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    # Of all elements, only a run of text is not read as Markdown.
    assert {element["type"] for element in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for element in card["body"] for run in element["inlines"]} == {"TextRun"}
    assert wording.headline[:500] in texts_in(card)


def test_a_webhook_gets_what_any_library_for_standard_webhooks_verifies() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    now = datetime.now(UTC)

    headers, body = rendering.standard_webhook(
        "failing", {"percent": 70}, alert_id="019cb8b8", secrets=(secret,), created_at=NOON, now=now
    )

    assert Verifier(secret).verify(body, dict(headers)) == {
        "type": "webhook.failing", "timestamp": "2026-03-04T12:00:00.000Z", "data": {"percent": 70},
    }  # fmt: skip
    assert dict(headers)["webhook-id"] == "019cb8b8"


# label: (format of the answer, what came, what it means)
ANSWERS: dict[str, tuple[str, Response | NoResponse, Result]] = {
    "accepted": ("standard-webhooks", Response(202, "", (), b""), Sent()),
    "Slack's ok": ("slack", Response(200, "", (), b"ok"), Sent()),
    "a page in front of Slack": ("slack", Response(200, "", (), b"<html>"), Postponed("The receiver answered 200.")),
    "Slack's webhook was removed": (
        "slack",
        Response(404, "", (), b"no_service"),
        Rejected("The receiver answered 404."),
    ),
    "a redirect": ("standard-webhooks", Response(302, "", (), b""), Postponed("The receiver answered 302.")),
    "gone": ("standard-webhooks", Response(410, "", (), b""), Rejected("The receiver answered 410.")),
    "down": ("standard-webhooks", Response(500, "", (), b""), Postponed("The receiver answered 500.")),
    "too fast": (
        "slack",
        Response(429, "", (("Retry-After", "1800"),), b""),
        Postponed("The receiver answered 429.", timedelta(minutes=30)),
    ),
    "silence": ("slack", NoResponse("timeout", "No\nresponse."), Postponed("No response.")),
}


@pytest.mark.parametrize(("slug", "came", "result"), ANSWERS.values(), ids=ANSWERS)
def test_what_an_answer_means(slug: str, came: Response | NoResponse, result: Result) -> None:
    assert result_of(Exchange(timedelta(0), came), wire_format=format_of(slug), now=NOON) == result


def test_the_delay_doubles_up_to_its_maximum() -> None:
    delays = [delay_after(attempts) for attempts in (1, 2, 3, 4, 5, 1000)]

    assert delays == [MIN_DELAY, 2 * MIN_DELAY, 4 * MIN_DELAY, 8 * MIN_DELAY, MAX_DELAY, MAX_DELAY]

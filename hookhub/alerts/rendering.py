"""Write an alert's words for each type of channel: pure, but for the templates of e-mails."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.template.loader import render_to_string

from deliveries import compact_json
from deliveries.formats.base import Message, stamp
from deliveries.formats.slack import escape
from deliveries.formats.standard_webhooks import sign
from deliveries.formats.text import clean, fit
from deliveries.version import USER_AGENT
from hookhub.alerts.wording import Wording
from hookhub.models import AlertKind

# Within the limits of Slack and of Teams, whose whole message may have 28 KB.
MAX_HEADLINE, MAX_VALUE, MAX_TEXT = 500, 500, 1500
# Facts in a message to a chat, and those of a section of Slack. Longer values of many are cut.
MAX_FACTS, MAX_FIELDS, MAX_VALUE_OF_MANY = 20, 10, 200
# The event types of alerts to a webhook: the same as of the system events.
EVENT_TYPES: Mapping[str, str] = {
    AlertKind.FAILING: "webhook.failing",
    AlertKind.DISABLED: "webhook.disabled",
    AlertKind.RECOVERED: "webhook.recovered",
    AlertKind.LEASE_ENDING: "lease.expiring",
    AlertKind.TEST: "alert.test",
}
JSON = ("Content-Type", "application/json"), ("User-Agent", USER_AGENT)

Headers = tuple[tuple[str, str], ...]


def email(wording: Wording) -> tuple[str, str]:
    """Return an e-mail as text and as HTML, which loads nothing."""
    width = max((len(label) for label, _ in wording.facts), default=0)
    facts = [*wording.facts, *_rest(wording.unlisted)]
    padded = [(label.ljust(width), value) for label, value in facts]
    context = {**wording._asdict(), "facts": facts, "padded": padded}
    return render_to_string("hookhub/alert.txt", context), render_to_string("hookhub/alert.html", context)


def slack(wording: Wording) -> bytes:
    """Return the body of a request to an incoming webhook of Slack, or of a chat that is like it."""
    headline = fit(clean(wording.headline), MAX_HEADLINE, escape=escape)
    blocks: list[object] = [{"type": "section", "text": _mrkdwn(f"*{headline}*")}]
    facts, most = _for_chats(wording)
    fields = [
        _mrkdwn(f"{fit(clean(label), most, escape=escape)}\n{fit(clean(value), most, escape=escape)}")
        for label, value in facts
    ]
    blocks += [
        {"type": "section", "fields": fields[first : first + MAX_FIELDS]} for first in range(0, len(fields), MAX_FIELDS)
    ]
    blocks += [
        {"type": "section", "text": _mrkdwn(fit(clean(text), MAX_TEXT, escape=escape))}
        for text in (wording.happened, wording.advice)
        if text
    ]
    return compact_json.encode({"text": headline, "blocks": blocks})


def teams(wording: Wording) -> bytes:
    """Return the body of a request to a workflow of Microsoft Teams: an adaptive card.

    All text is in runs, which unlike text blocks have no markup that a name could write.
    """
    body: list[object] = [_runs([(clean(wording.headline)[:MAX_HEADLINE], True)])]
    facts, most = _for_chats(wording)
    body += [_runs([(f"{clean(label)[:most]}: ", True), (clean(value)[:most] or "–", False)]) for label, value in facts]
    body += [_runs([(clean(text)[:MAX_TEXT], False)]) for text in (wording.happened, wording.advice) if text]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": clean(wording.headline)[:MAX_HEADLINE],
        "body": body,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return compact_json.encode({"type": "message", "attachments": [attachment]})


def standard_webhook(
    kind: str,
    data: Mapping[str, object],
    *,
    alert_id: str,
    secrets: tuple[str, ...],
    created_at: datetime,
    now: datetime,
) -> tuple[Headers, bytes]:
    """Return headers and body of a request that is signed as by Standard Webhooks; its id is that of the alert."""
    event = {"type": EVENT_TYPES[kind], "timestamp": stamp(created_at, milliseconds=True), "data": data}
    body = compact_json.encode(event)
    message = Message(
        delivery_id=alert_id, attempt=1, event_id=alert_id, event_type=EVENT_TYPES[kind], payload=b"",
        occurred_at=created_at, sent_at=now, organization="", repository=None, webhook_id="", webhook_number=0,
        scope="organization", scope_number=0, content_type="json", secrets=secrets,
    )  # fmt: skip
    return (*JSON, *sign(message, body)), body


def _for_chats(wording: Wording) -> tuple[list[tuple[str, str]], int]:
    """Return as many facts as a chat shows at a time, the number of the others, and how long each may be."""
    if len(wording.facts) <= MAX_FACTS and not wording.unlisted:
        return list(wording.facts), MAX_VALUE if len(wording.facts) <= MAX_FIELDS else MAX_VALUE_OF_MANY
    shown = wording.facts[: MAX_FACTS - 1]
    rest = _rest(wording.unlisted + len(wording.facts) - len(shown))
    return [*shown, *rest], MAX_VALUE_OF_MANY


def _rest(count: int) -> list[tuple[str, str]]:
    return [("…", f"and {count} more")] if count else []


def _mrkdwn(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _runs(texts: Sequence[tuple[str, bool]]) -> dict[str, object]:
    """Return a paragraph of texts, each of which may be bold."""
    runs = [{"type": "TextRun", "text": text, **({"weight": "Bolder"} if is_bold else {})} for text, is_bold in texts]
    return {"type": "RichTextBlock", "inlines": runs}

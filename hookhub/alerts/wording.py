"""What an alert says, in plain text; ``rendering`` writes it for each type of channel."""

from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.utils.dateparse import parse_datetime

from deliveries.explanations import last_failure_of
from deliveries.models import Webhook
from deliveries.plain_text import on_one_line
from deliveries.policy.explanations import Explanation
from hookhub.formatting import exact
from hookhub.models import Alert, AlertKind

DELIVERIES_HELD = (
    "Its pending deliveries are held, and no events are lost. When the receiver works again, enable the webhook and "
    "choose whether to send the held deliveries:"
)
WILL_BE_DISABLED = (
    "If it does not recover before, it is disabled; then its deliveries are held, and no events are lost."
)
FROM_THEN_ON = "From then on it gets no events, and what is pending is cancelled."
RENEW = "To renew it, set another end, or null for none:"


class Wording(NamedTuple):
    """An alert in words. Every text is on one line, but ``call``: the lines of a command to copy."""

    subject: str
    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    happened: str = ""
    advice: str = ""
    next_step: str = ""
    call: str = ""


def wording_of(alert: Alert, webhook: Webhook | None) -> Wording:
    """Return an alert in words; reads the last failure of the webhook, if it is about that."""
    organization = on_one_line(str(alert.organization))
    if webhook is None or alert.kind == AlertKind.TEST:
        return Wording(
            f"{organization}: test alert",
            f"This is a test. Alerts about webhooks of {organization} arrive here.",
        )
    # A line break in a name would let its author write lines of their own.
    name = on_one_line(webhook.name) or str(webhook.uid)
    facts = (("ID", str(webhook.uid)), ("URL", on_one_line(webhook.shown_url)))
    about = f"The webhook {name} of {organization}"
    match alert.kind:
        case AlertKind.FAILING:
            return _failing(alert, webhook, organization=organization, about=about, facts=facts)
        case AlertKind.DISABLED:
            happened, advice = in_words(last_failure_of(webhook))
            reason = f"{webhook.get_disabled_reason_display()} ({webhook.failure_count} consecutive failed attempts)"
            return Wording(
                f"{organization}: webhook disabled",
                f"{about} has been disabled.",
                (*facts, ("Reason", reason), ("Time", time_in(alert.details, "disabled_at"))),
                happened,
                advice,
                DELIVERIES_HELD,
                call(webhook, "POST", "/enable", '{"release_held": true}'),
            )
        case AlertKind.RECOVERED:
            times = {"Failing since": "failing_since", "Works since": "recovered_at"}
            return Wording(
                f"{organization}: webhook works again",
                f"{about} works again.",
                (*facts, *((label, time_in(alert.details, key)) for label, key in times.items())),
            )
    ends = alert.details.get("expires_at", "")
    return Wording(
        f"{organization}: webhook ends soon",
        f"The lease of the webhook {name} of {organization} ends at {ends}. {FROM_THEN_ON}",
        facts,
        next_step=RENEW,
        call=call(webhook, "PATCH", "", '{"expires_at": "…"}'),
    )


def _failing(
    alert: Alert, webhook: Webhook, *, organization: str, about: str, facts: tuple[tuple[str, str], ...]
) -> Wording:
    happened, advice = in_words(last_failure_of(webhook))
    more = [
        ("Failing since", time_in(alert.details, "failing_since")),
        ("Failed attempts", f"{alert.details.get('failure_count', '')} in a row"),
    ]
    if alert.details.get("disables_at"):
        more.append(("Disabled", f"about {time_in(alert.details, 'disables_at')}"))
    return Wording(
        f"{organization}: webhook failing, {alert.percent} %",
        f"{about} keeps failing: {alert.percent} % of what disables it is used up.",
        (*facts, *more),
        happened,
        advice,
        WILL_BE_DISABLED,
    )


def in_words(explanation: Explanation | None) -> tuple[str, str]:
    """Return what happened and what to do on one line each: receivers can write into it."""
    if explanation is None:
        return "", ""
    return on_one_line(explanation.what_happened), on_one_line(explanation.what_to_do)


def time_in(details: dict[str, Any], key: str) -> str:
    """Return a time of an alert's facts as text, or a dash."""
    moment: datetime | None = parse_datetime(str(details.get(key) or ""))
    return "–" if moment is None else exact(moment)


def call(webhook: Webhook, method: str, path: str, body: str) -> str:
    """Return a command that calls the API about a webhook."""
    return (
        f"curl -X {method} {settings.HOOKHUB_PUBLIC_URL}/v1/webhooks/{webhook.uid}{path} \\\n"
        '     -H "Authorization: Bearer $HOOKHUB_API_KEY" -H "Content-Type: application/json" \\\n'
        f"     -d '{body}'"
    )

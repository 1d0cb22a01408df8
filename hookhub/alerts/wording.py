"""What an alert says, in plain text; ``rendering`` writes it for each type of channel."""

from collections.abc import Sequence
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
WILL_ALL_BE_DISABLED = (
    "Those that do not recover before are disabled; then their deliveries are held, and no events are lost. All that "
    "were told of:"
)
ALL_HELD = (
    "Their pending deliveries are held, and no events are lost. When the receivers work again, enable the webhooks and "
    "choose whether to send the held deliveries. All of them:"
)
ALL_FROM_THEN_ON = "From then on they get no events, and what is pending is cancelled."
RENEW = "To renew it, set another end, or null for none:"


# Of a message about many webhooks: its subject, what it says of them, what to do next, and the address of a list.
OF_MANY = {
    AlertKind.FAILING: ("failing", "keep failing.", WILL_ALL_BE_DISABLED, "/v1/alerts?kind=failing"),
    AlertKind.DISABLED: ("disabled", "have been disabled.", ALL_HELD, "/v1/webhooks?status=disabled"),
    AlertKind.RECOVERED: ("work again", "work again.", "All that were told of:", "/v1/alerts?kind=recovered"),
    AlertKind.LEASE_ENDING: (
        "end soon",
        "end soon.",
        f"{ALL_FROM_THEN_ON} All of them:",
        "/v1/alerts?kind=lease_ending",
    ),
}
# Webhooks that one message lists.
MAX_LISTED = 100


class Wording(NamedTuple):
    """Alerts in words. Every text is on one line, but ``call``: the lines of a command to copy.

    ``unlisted`` webhooks are meant too, without a fact of their own.
    """

    subject: str
    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    happened: str = ""
    advice: str = ""
    next_step: str = ""
    call: str = ""
    unlisted: int = 0


def wording_of(alerts: Sequence[Alert]) -> Wording:
    """Return alerts of one kind in words; reads the last failure of the webhook if there is one, and about that."""
    return of_one(alerts[0], alerts[0].webhook) if len(alerts) == 1 else of_many(alerts)


def of_many(alerts: Sequence[Alert]) -> Wording:
    """Return in words what several webhooks of one organization have in common, with a line for each of them."""
    organization, kind = on_one_line(str(alerts[0].organization)), AlertKind(alerts[0].kind)
    webhooks = [webhook for alert in alerts[:MAX_LISTED] if (webhook := alert.webhook) is not None]
    facts = tuple(
        (on_one_line(webhook.name) or str(webhook.uid), f"{on_one_line(webhook.shown_url)} ({short_of(alert)})")
        for alert, webhook in zip(alerts, webhooks, strict=False)
    )
    subject, sentence, next_step, address = OF_MANY[kind]
    return Wording(
        f"{organization}: {len(alerts)} webhooks {subject}",
        f"{len(alerts)} webhooks of {organization} {sentence}",
        facts,
        next_step=next_step,
        call=f'curl "{settings.HOOKHUB_PUBLIC_URL}{address}" -H "Authorization: Bearer $HOOKHUB_API_KEY"',
        unlisted=len(alerts) - len(facts),
    )


def short_of(alert: Alert) -> str:
    """Return what an alert says of its webhook alone, in a few words."""
    match alert.kind:
        case AlertKind.FAILING:
            return f"{alert.percent} % used up, failing since {time_in(alert.details, 'failing_since')}"
        case AlertKind.DISABLED:
            return f"disabled {time_in(alert.details, 'disabled_at')}"
        case AlertKind.RECOVERED:
            return f"works since {time_in(alert.details, 'recovered_at')}"
    return f"ends {time_in(alert.details, 'expires_at')}"


def of_one(alert: Alert, webhook: Webhook | None) -> Wording:
    """Return one alert in words."""
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

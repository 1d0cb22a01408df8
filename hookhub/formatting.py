"""Formats times, durations, states and untrusted bytes for display."""

import json
from datetime import datetime, timedelta

from django.db.models import Model, QuerySet
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext

from deliveries import timezone

# Counting stops here, so that a number never costs more than its page.
MAX_COUNTED = 10_000
# Characters that a browser shows in one piece without stuttering.
MAX_SHOWN = 64 * 1024

TONES = {
    "pending": "waiting", "due": "waiting", "sending": "busy", "delivered": "good", "failed": "bad",
    "held": "warning", "cancelled": "quiet",
    "gone": "bad", "no_response": "bad", "unknown": "warning",
    "running": "busy", "finished": "good",
}  # fmt: skip

# From which duration on, in which unit, by which name: 90 s says more than 1 min.
_STEPS = (
    (timedelta(days=2), timedelta(days=1), "d"),
    (timedelta(hours=2), timedelta(hours=1), "h"),
    (timedelta(minutes=2), timedelta(minutes=1), "min"),
    (timedelta(seconds=1), timedelta(seconds=1), "s"),
)


def span(length: timedelta) -> str:
    """Return a duration in one unit: 380 ms, 12 s, 5 min, 3 h, 4 d."""
    for least, unit, name in _STEPS:
        if length >= least:
            return f"{length // unit} {name}"
    milliseconds = max(length, timedelta(0)) // timedelta(milliseconds=1)
    return f"{milliseconds} ms" if milliseconds else "<1 ms"


def relative(moment: datetime, *, now: datetime) -> str:
    """Return the distance of a time from ``now``: ``5 min ago``, ``in 3 h``, ``now``."""
    if abs(moment - now) < timedelta(seconds=1):
        return gettext("now")
    if moment < now:
        return gettext("%(span)s ago") % {"span": span(now - moment)}
    return gettext("in %(span)s") % {"span": span(moment - now)}


def when(moment: datetime | None, *, now: datetime) -> SafeString | str:
    """Return a time as its distance from ``now``, with the exact time as a tooltip; a dash for None."""
    if moment is None:
        return "–"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact(moment), relative(moment, now=now)
    )


def exact(moment: datetime) -> str:
    """Return a time to the second, in the current time zone, which is UTC but for some sessions of the portal."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"


def timestamp(moment: datetime | None, *, now: datetime) -> SafeString | str:
    """Return a time, absolute and relative; a dash for None."""
    return "–" if moment is None else format_html("{} <small>({})</small>", exact(moment), relative(moment, now=now))


def badge(text: str, tone: str) -> SafeString:
    """Return a colored label; its tone is good, bad, warning, waiting, busy or quiet."""
    return format_html('<span class="hh-badge hh-{}">{}</span>', tone, text)


def state_badge(state: str, label: str) -> SafeString:
    """Return a state or an outcome as a colored label."""
    return badge(capfirst(label), TONES.get(state, "quiet"))


def count_up_to(rows: QuerySet[Model], *, limit: int = MAX_COUNTED) -> str:
    """Return a number of rows as text, counting no further than ``limit``: beyond that it is ``10,000+``."""
    return at_most(rows.order_by()[: limit + 1].count(), limit=limit)


def at_most(count: int, *, limit: int = MAX_COUNTED) -> str:
    """Return a count as text, where counting stopped after ``limit``."""
    return f"{number(limit)}+" if count > limit else number(count)


def number(count: int) -> str:
    """Return a number with the separators of the current language."""
    return number_format(count, use_l10n=True, force_grouping=True)


def deliveries(count: int) -> str:
    """Return a count of deliveries as text."""
    return ngettext("%(count)s delivery", "%(count)s deliveries", count) % {"count": number(count)}


def rate(requests: int, *, per: int) -> str:
    """Return a rate as text: a number of requests in so many seconds."""
    match per:
        case 1:
            words = ngettext("%(count)s request a second", "%(count)s requests a second", requests)
        case 60:
            words = ngettext("%(count)s request a minute", "%(count)s requests a minute", requests)
        case 3600:
            words = ngettext("%(count)s request an hour", "%(count)s requests an hour", requests)
        case _:
            words = ngettext("%(count)s request in %(per)s s", "%(count)s requests in %(per)s s", requests)
    return words % {"count": number(requests), "per": number(per)}


def pretty(raw: bytes) -> str | None:
    """Return JSON with indentation, or None if it cannot be parsed; the notation of numbers may change."""
    try:
        return json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def truncated(text: str) -> tuple[str, bool]:
    """Return as much of a text as one page shows, and whether it was cut."""
    return text[:MAX_SHOWN], len(text) > MAX_SHOWN

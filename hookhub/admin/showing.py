"""How moments, spans, states and strangers' bytes are put before a person."""

import json
from datetime import datetime, timedelta

from django.db.models import Model, QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString

# What is counted is counted no further than this, so that a number never costs more than its page.
COUNTED_MOST = 10_000
# A browser shows this much in one piece without stuttering.
SHOWN_MOST = 64 * 1024

TONES = {
    "pending": "waiting", "due": "waiting", "sending": "busy", "delivered": "good", "failed": "bad",
    "held": "warning", "cancelled": "quiet",
    "refused": "bad", "gone": "bad", "lost": "bad", "unknown": "warning",
    "running": "busy", "finished": "good",
}  # fmt: skip

# From this length on, a span is given in that unit: 90 s say more than 1 min does.
_STEPS = (
    (timedelta(days=2), timedelta(days=1), "d"),
    (timedelta(hours=2), timedelta(hours=1), "h"),
    (timedelta(minutes=2), timedelta(minutes=1), "min"),
    (timedelta(seconds=1), timedelta(seconds=1), "s"),
)


def span(length: timedelta) -> str:
    """Say how long, in one unit: 380 ms, 12 s, 5 min, 3 h, 4 d."""
    for least, unit, name in _STEPS:
        if length >= least:
            return f"{length // unit} {name}"
    milliseconds = max(length, timedelta(0)) // timedelta(milliseconds=1)
    return f"{milliseconds} ms" if milliseconds else "<1 ms"


def relative(moment: datetime, *, now: datetime) -> str:
    """Say how far off a moment is: ``5 min ago``, ``in 3 h``, ``now``."""
    if abs(moment - now) < timedelta(seconds=1):
        return "now"
    return f"{span(now - moment)} ago" if moment < now else f"in {span(moment - now)}"


def when(moment: datetime | None, *, now: datetime) -> SafeString | str:
    """Show a moment as its distance, the exact one in the tooltip; a dash when there is none."""
    if moment is None:
        return "–"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact(moment), relative(moment, now=now)
    )


def exact(moment: datetime) -> str:
    """Write a moment to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def badge(text: str, tone: str) -> SafeString:
    """Show a word on a colour: good, bad, warning, waiting, busy or quiet."""
    return format_html('<span class="hh-badge hh-{}">{}</span>', tone, text)


def state_badge(state: str) -> SafeString:
    """Show a state or an outcome in its colour."""
    return badge(state, TONES.get(state, "quiet"))


def count_up_to(rows: QuerySet[Model], *, most: int = COUNTED_MOST) -> str:
    """Count rows, but never more than ``most``: beyond that the answer is ``10,000+``."""
    return at_most(rows.order_by()[: most + 1].count(), most=most)


def at_most(count: int, *, most: int = COUNTED_MOST) -> str:
    """Write a count that was given up after ``most``."""
    return f"{most:,}+" if count > most else f"{count:,}"


def printable(raw: bytes | str) -> str:
    r"""Give strangers' bytes as text with nothing hidden in it.

    What is not UTF-8, control characters and those that reorder a line become escapes such as ``\x00``; line breaks
    and tabs stay.
    """
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    return "".join(
        mark if mark.isprintable() or mark in "\n\t" else mark.encode("unicode_escape").decode()
        for mark in text.replace("\r\n", "\n")
    )


def pretty(raw: bytes) -> str | None:
    """Give JSON set out for reading, or None when that cannot be done. Numbers may come out in another notation."""
    try:
        return json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def beginning(text: str) -> tuple[str, bool]:
    """Give as much of a text as one page shows, and whether that was not all."""
    return text[:SHOWN_MOST], len(text) > SHOWN_MOST

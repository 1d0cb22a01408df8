"""What the pages of admin and portal show of an attempt; what a receiver wrote is made printable."""

from datetime import timedelta
from typing import Any

from django.utils.translation import gettext, gettext_lazy

from deliveries.explanations import explanation_of, timing_of
from deliveries.models import Attempt
from deliveries.plain_text import printable
from hookhub.formatting import exact, span

# The phases of an attempt, as a page names them.
PHASES = {"dns": "DNS", "connect": gettext_lazy("connect"), "tls": "TLS", "first_byte": gettext_lazy("first byte")}


def facts_of(attempt: Attempt, *, wire_format: str) -> dict[str, Any]:
    """Return an attempt's facts as text, with the reason of a failure and what to do, and the time of each phase."""
    explanation = explanation_of(attempt, wire_format=wire_format, translate=gettext)
    return {
        "number": attempt.number,
        "status": attempt.status,
        "started": exact(attempt.started_at),
        "took": "–" if attempt.duration is None else span(attempt.duration),
        "phases": [
            (PHASES[name], span(timedelta(seconds=length)))
            for name, length in timing_of(attempt).items()
            if length is not None
        ],
        "url": printable(attempt.url),
        "request_headers": printable(attempt.request_headers),
        "response_headers": printable(attempt.response_headers),
        "body": printable(bytes(attempt.response_body)),
        "error": printable(attempt.error),
        "what_happened": printable(explanation.what_happened) if explanation else "",
        "what_to_do": printable(explanation.what_to_do) if explanation else "",
    }

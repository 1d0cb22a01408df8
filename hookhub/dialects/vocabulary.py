"""Which words a system lets a webhook's list of events hold."""

from collections.abc import Mapping

from deliveries import catalogue
from deliveries.dialects import DIALECTS
from deliveries.models import Organization
from hookhub import event_types
from hookhub.api.errors import invalid


def refuse_unknown(wanted: Mapping[str, object], *, dialect: str, organization: Organization) -> None:
    """Refuse a list of events with a word that neither the system nor the organization has; raises a 422.

    What is no list of words at all is left to the engine, which has more to say about it.
    """
    events = wanted.get("events")
    if not isinstance(events, list):
        return
    known = catalogue.of(dialect)
    strange = [word for word in events if isinstance(word, str) and not known.knows(word)]
    if not strange:
        return
    own = event_types.own(organization)
    for word in strange:
        if not own.knows(word):
            these = ", ".join([*known.types, *own.types, "*"])
            raise invalid(
                {"events": f"{word[:100]!r} is not an event of {DIALECTS[dialect].title}; these are: {these}"}
            )

"""Which words a system lets a webhook's list of events hold."""

from collections.abc import Mapping

from deliveries import catalogue
from deliveries.dialects import DIALECTS
from hookhub.api.errors import invalid


def refuse_unknown(wanted: Mapping[str, object], *, dialect: str) -> None:
    """Refuse a list of events with a word that the system does not have; raises a 422 naming the first.

    What is no list of words at all is left to the engine, which has more to say about it.
    """
    events = wanted.get("events")
    if not isinstance(events, list):
        return
    known = catalogue.of(dialect)
    for word in events:
        if isinstance(word, str) and not known.knows(word):
            these = ", ".join([*known.types, "*"])
            raise invalid(
                {"events": f"{word[:100]!r} is not an event of {DIALECTS[dialect].title}; these are: {these}"}
            )

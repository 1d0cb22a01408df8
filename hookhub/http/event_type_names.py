"""Validates a webhook's event types against those that a system has."""

from collections.abc import Mapping

from deliveries.event_types import catalogue
from deliveries.models import Organization
from deliveries.systems import SYSTEMS
from hookhub.event_types import registry
from hookhub.http.refusals import invalid


def validate_event_types(fields: Mapping[str, object], *, dialect: str, organization: Organization) -> None:
    """Raise a 422 if ``events`` has a type that neither the system nor the organization has.

    A value that is not a list is left to the engine, which has a more specific error for it.
    """
    events = fields.get("events")
    if not isinstance(events, list):
        return
    known = catalogue.of(dialect)
    strange = [word for word in events if isinstance(word, str) and not known.knows(word)]
    if not strange:
        return
    custom = registry.custom(organization)
    for word in strange:
        if not custom.knows(word):
            these = ", ".join([*known.types, *custom.types, "*"])
            title = SYSTEMS[dialect].title
            raise invalid({"events": f"{word[:100]!r} is not an event type of {title}; known event types: {these}"})

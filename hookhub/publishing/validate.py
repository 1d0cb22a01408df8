"""Validates parsed events: the data of each against the schema of its type, and everything else that can be refused."""

from datetime import datetime

from deliveries.event_types.catalogue import Catalogue
from deliveries.models import Organization
from hookhub.event_types import registry
from hookhub.event_types.validation import Budget
from hookhub.http.refusals import invalid
from hookhub.publishing.parse import ParsedRequest
from hookhub.publishing.translate import find_repositories, new_events, with_keys


def validate_data(parsed: ParsedRequest, *, organization: Organization, custom: Catalogue | None = None) -> None:
    """Raise a 422 for data that violates the schema of its type, if the organization has validation enabled.

    ``custom`` holds the organization's custom event types; without it they are read from the database.
    """
    if not organization.validate_events:
        return
    # A generator, because the parsed data of all events together may take twenty times the memory of the body.
    published = ((event.type, event.data) for event in parsed.events)
    custom = registry.custom(organization) if custom is None else custom
    budget = Budget.of(len(parsed.events))
    found = registry.errors_in(published, organization=organization, custom=custom, budget=budget)
    if found:
        raise invalid({parsed.field_path(position, path): error for (position, path), error in found.items()})


def validate(
    parsed: ParsedRequest, *, organization: Organization, header: str | None, content: bytes, now: datetime
) -> None:
    """Raise the error that publishing these events would raise, except for a key that was used before; store nothing.

    Repositories that publishing would create count as existing.
    """
    validate_data(parsed, organization=organization)
    found, missing = find_repositories(parsed, organization=organization)
    expected = found | dict.fromkeys(missing, 0)
    events = new_events(parsed, organization=organization, repositories=expected, now=now)
    with_keys(events, parsed, header=header, content=content)

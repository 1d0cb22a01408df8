"""Translates parsed events to the engine's: organization, repositories and idempotency keys."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from deliveries.events import NewEvent
from deliveries.models import Organization, Repository
from hookhub.http.refusals import invalid
from hookhub.publishing import parse, repositories
from hookhub.publishing.parse import ParsedRequest
from hookhub.publishing.repositories import in_another_case

# A batch appends the position of each event to the key, and the result must still fit.
MAX_HEADER_KEY_LENGTH = parse.MAX_KEY_LENGTH - 10
MAX_ERRORS = 100


def organization_named(parsed: ParsedRequest) -> str | None:
    """Return the organization that the events name, or None if they name none; raise a 422 if they name several."""
    named = {event.organization for event in parsed.events}
    if len(named) > 1:
        raise invalid({"organization": "all events of a request must belong to the same organization"})
    return named.pop()


def repository_names(parsed: ParsedRequest, *, organization: Organization) -> dict[str, str]:
    """Map each repository name in the events, short or full, to the repository's name within the organization.

    The full name of another organization's repository maps to the empty string, which no repository has as its name.
    """
    names = {}
    for written in {event.repository for event in parsed.events if event.repository is not None}:
        owner, _, name = written.rpartition("/")
        names[written] = name if owner in {"", organization.slug} else ""
    return names


def repository_ids(names: Collection[str], *, organization: Organization) -> dict[str, int]:
    """Return the ids, by name, of those of an organization's repositories that have one of these names."""
    return dict(Repository.objects.filter(organization=organization, name__in=names).values_list("name", "id"))


def find_repositories(parsed: ParsedRequest, *, organization: Organization) -> tuple[dict[str, int], set[str]]:
    """Return the ids of the repositories that the events name, by name, and the names of those to create.

    Names are to be created only if they are valid, and if the organization has creation on publish enabled.
    """
    names = set(repository_names(parsed, organization=organization).values())
    found = repository_ids(names, organization=organization) if names else {}
    if not organization.create_repositories or len(found) == len(names):
        return found, set()
    return found, repositories.creatable(names - found.keys(), organization=organization)


def translate(
    parsed: ParsedRequest,
    *,
    organization: Organization,
    finish: Callable[[list[NewEvent]], list[NewEvent]] = list,
    hops: str | None = None,
    trace: str | None = None,
    now: datetime,
) -> list[NewEvent]:
    """Translate parsed events to the engine's, and create the repositories that they are the first to name.

    ``finish`` completes the translated events; if it raises, no repository is created.
    """
    found, missing = find_repositories(parsed, organization=organization)
    if missing:
        expected = found | dict.fromkeys(missing, 0)
        finish(new_events(parsed, organization=organization, repositories=expected, hops=hops, trace=trace, now=now))
        found |= repositories.create(missing, organization=organization, now=now)
    return finish(new_events(parsed, organization=organization, repositories=found, hops=hops, trace=trace, now=now))


def new_events(
    parsed: ParsedRequest,
    *,
    organization: Organization,
    repositories: Mapping[str, int],
    hops: str | None = None,
    trace: str | None = None,
    now: datetime,
) -> list[NewEvent]:
    """Translate parsed events to the engine's; raise a 422 for unknown repositories.

    ``repositories`` holds the ids, by name, of those of the organization's repositories that the events name. ``hops``
    is what ``parse.hops_of`` returned for the request, and ``trace`` the trace of events that name none.
    """
    names = repository_names(parsed, organization=organization)
    ids: dict[str | None, int] = {
        written: repositories[name] for written, name in names.items() if name in repositories
    }
    if len(ids) < len(names):
        raise invalid(_unknown_repositories(parsed, names, known=ids, organization=organization))
    return [
        NewEvent(
            organization_id=organization.pk,
            repository_id=ids.get(event.repository),
            type=event.type,
            topics=event.topics,
            payload=event.payload,
            occurred_at=event.timestamp or now,
            idempotency_key=event.key,
            fingerprint=event.fingerprint() if event.key else None,
            hops=hops,
            trace=event.trace or trace,
        )
        for event in parsed.events
    ]


def _unknown_repositories(
    parsed: ParsedRequest,
    names: Mapping[str, str],
    *,
    known: Collection[str | None],
    organization: Organization,
) -> dict[str, str]:
    """Return the errors for events of unknown repositories; ``names`` is what ``repository_names`` returned."""
    missing = {name for written, name in names.items() if written not in known}
    similar = in_another_case(missing, organization=organization)
    errors = {
        parsed.field_path(position, "repository"): _unknown_repository(
            organization, similar=similar.get(names[event.repository])
        )
        for position, event in enumerate(parsed.events)
        if event.repository is not None and event.repository not in known
    }
    return dict(list(errors.items())[:MAX_ERRORS])


def _unknown_repository(organization: Organization, *, similar: str | None) -> str:
    """Return the error for an unknown repository; ``similar`` is an existing name that differs in case only."""
    if similar is not None:
        return f"differs from {similar} only in case; use the same spelling"
    return f"{organization.slug} has no such repository; create it with POST /v1/repositories"


def with_keys(events: list[NewEvent], parsed: ParsedRequest, *, header: str | None, content: bytes) -> list[NewEvent]:
    """Derive a key from the header for each event without one; raise a 422 for an invalid or repeated one.

    ``content`` is the body of the request.
    """
    if header is not None:
        if (error := parse.key_error(header)) or len(header) > MAX_HEADER_KEY_LENGTH:
            raise invalid({"Idempotency-Key": error or f"must be at most {MAX_HEADER_KEY_LENGTH} characters"})
        if not parsed.is_batch and events[0].idempotency_key not in {None, header}:
            raise invalid({"id": "differs from the Idempotency-Key header; send only one of them"})
        events = [_with_key(event, header, parsed, position, content) for position, event in enumerate(events)]
    keys = [event.idempotency_key for event in events if event.idempotency_key is not None]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        position = [event.idempotency_key for event in events].index(twice)
        raise invalid({parsed.field_path(position, "id"): "is also used by another event in this request"})
    return events


def _with_key(event: NewEvent, header: str, parsed: ParsedRequest, position: int, content: bytes) -> NewEvent:
    """Return the event with a key derived from the request's, or unchanged if it has one already."""
    if event.idempotency_key is not None:
        return event
    if not parsed.is_batch:
        return replace(event, idempotency_key=header, fingerprint=parsed.events[0].fingerprint())
    # The key stands for the whole request: with one event more or less it is a different request.
    return replace(event, idempotency_key=f"{header}#{position}", fingerprint=sha256(content).digest())

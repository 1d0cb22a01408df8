"""Stores parsed entries as events, many in a statement; an invalid entry does not affect the others."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple, TypeVar

from django.conf import settings
from django.db import DataError, IntegrityError, OperationalError

from deliveries import pipeline, telemetry
from deliveries.db import sql
from deliveries.events import IdempotencyConflict, NewEvent
from deliveries.models import Organization
from deliveries.telemetry import AcceptSpan
from hookhub.event_types import registry
from hookhub.event_types.validation import MAX_STEPS, Budget
from hookhub.http.refusals import Refusal, invalid
from hookhub.publishing.parse import MAX_EVENTS, ParsedRequest
from hookhub.publishing.publish import KEY_REUSED, LOCK_TIMEOUT
from hookhub.publishing.redis_stream.entries import Entry, InvalidEntry, ParsedEntry, moment_of
from hookhub.publishing.translate import translate

Each = TypeVar("Each")

# An entry that keeps its batch waiting is found by storing each alone. It then waits no longer than this, so that a
# batch of MAX_READ that all wait is done before another worker would claim it as stale.
LOCK_TIMEOUT_ALONE = timedelta(milliseconds=20)
# The validation budget for all of one organization's entries in a batch.
STEPS_FOR_ALL = 5 * MAX_STEPS


class Valid(NamedTuple):
    """An entry and the organization that it is published for."""

    read: ParsedEntry
    organization: Organization


@dataclass(frozen=True, slots=True)
class Ready:
    """An entry with its events as the pipeline accepts them."""

    entry: Entry
    events: Sequence[NewEvent]
    span: AcceptSpan

    @property
    def size(self) -> int:
        """The length of its payloads in bytes."""
        return sum(len(event.payload) for event in self.events)


def store(read: Sequence[ParsedEntry], *, now: datetime) -> tuple[list[InvalidEntry], list[Entry]]:
    """Store the events of all valid entries; return the invalid entries, and those that wait for a lock; idempotent.

    Another transaction may hold a key that an entry has, or the organization in which it creates a repository. That
    entry waits, and the others are stored.

    Raise django.db's errors when the database fails and no entry is at fault. Some of the entries may be stored by
    then; retrying with all of them is safe.
    """
    valid, rejected = check(read)
    waiting = []
    try:
        return rejected + _store(valid, wait=LOCK_TIMEOUT, now=now), []
    except OperationalError as error:
        if not sql.is_lock_timeout(error):
            raise
    for each in valid:
        try:
            rejected += _store([each], wait=LOCK_TIMEOUT_ALONE, now=now)
        except OperationalError as error:
            if not sql.is_lock_timeout(error):
                raise
            waiting.append(each.read.entry)
    return rejected, waiting


def check(read: Sequence[ParsedEntry]) -> tuple[list[Valid], list[InvalidEntry]]:
    """Return the entries that name an organization and whose data is valid, in order, and the others."""
    organizations = _organizations({each.organization for each in read})
    rejected: dict[str, InvalidEntry] = {}
    groups: dict[Organization, list[ParsedEntry]] = {}
    for each in read:
        organization = organizations.get(each.organization)
        if organization is not None:
            groups.setdefault(organization, []).append(each)
        elif each.organization is not None:
            rejected[each.entry.id] = InvalidEntry(each.entry, f"organization: {each.organization} does not exist", 404)
        else:
            why = "organization: is required because this HookHub does not have exactly one"
            rejected[each.entry.id] = InvalidEntry(each.entry, why)
    for organization, members in groups.items():
        if organization.validate_events:
            rejected |= _invalid(members, organization)
    valid = [Valid(each, organizations[each.organization]) for each in read if each.entry.id not in rejected]
    return valid, list(rejected.values())


def _store(valid: Sequence[Valid], *, wait: timedelta, now: datetime) -> list[InvalidEntry]:
    """Store the events of entries, and return those that are rejected; wait for no lock longer than ``wait``."""
    outcomes = prepare(valid, wait=wait, now=now)
    rejected = [outcome for outcome in outcomes if isinstance(outcome, InvalidEntry)]
    for portion in portions([outcome for outcome in outcomes if isinstance(outcome, Ready)]):
        rejected += _accept(portion, wait=wait, now=now)
    return rejected


def prepare(valid: Sequence[Valid], *, wait: timedelta, now: datetime) -> list[Ready | InvalidEntry]:
    """Build the events of entries; return one outcome for each, in order."""
    outcomes: dict[str, Ready | InvalidEntry] = {}
    groups: dict[Organization, list[ParsedEntry]] = {}
    for each in valid:
        groups.setdefault(each.organization, []).append(each.read)
    for organization, members in groups.items():
        for outcome in _of_one_organization(members, organization, wait=wait, now=now):
            outcomes[outcome.entry.id] = outcome
    return [outcomes[each.read.entry.id] for each in valid]


def portions(ready: Sequence[Ready]) -> Iterator[list[Ready]]:
    """Split entries into portions within the limits of one request to the HTTP API; an entry is never divided."""
    portion: list[Ready] = []
    count = size = 0
    for each in ready:
        over = count + len(each.events) > MAX_EVENTS or size + each.size > settings.HOOKHUB_REQUEST_LIMIT
        if portion and over:
            yield portion
            portion, count, size = [], 0, 0
        portion.append(each)
        count += len(each.events)
        size += each.size
    if portion:
        yield portion


def _organizations(named: Collection[str | None]) -> dict[str | None, Organization]:
    """Return the organizations by slug; None stands for the only organization, if there is just one."""
    slugs = [slug for slug in named if slug is not None]
    found: dict[str | None, Organization] = {}
    if slugs:
        found |= {organization.slug: organization for organization in Organization.objects.filter(slug__in=slugs)}
    if None in named and len(few := list(Organization.objects.order_by("pk")[:2])) == 1:
        found[None] = few[0]
    return found


def _invalid(members: Sequence[ParsedEntry], organization: Organization) -> dict[str, InvalidEntry]:
    """Return, by entry id, the entries with an event that does not match the schema of its type."""
    custom = registry.custom(organization)
    rejected = {}
    left = STEPS_FOR_ALL
    for each in members:
        # An entry may cost as much as a request. The total is bounded, so that the batch is finished before another
        # worker would claim it as stale.
        published = ((event.type, event.data) for event in each.parsed.events)
        budget = Budget(most := min(left, Budget.of(len(each.parsed.events)).steps))
        found = registry.errors_in(published, organization=organization, custom=custom, budget=budget)
        left -= most - max(budget.steps, 0)
        if found:
            errors = {each.parsed.field_path(position, path): error for (position, path), error in found.items()}
            rejected[each.entry.id] = InvalidEntry.of(each.entry, invalid(errors))
    return rejected


def _of_one_organization(
    members: Sequence[ParsedEntry], organization: Organization, *, wait: timedelta, now: datetime
) -> list[Ready | InvalidEntry]:
    together = ParsedRequest(tuple(event for each in members for event in each.parsed.events), is_batch=True)
    # With a single entry the errors name the fields as the producer wrote them.
    parsed = members[0].parsed if len(members) == 1 else together
    try:
        with sql.atomic_waiting(wait):
            events = iter(translate(parsed, organization=organization, now=now))
    except Refusal as refusal:
        if len(members) == 1:
            return [InvalidEntry.of(members[0].entry, refusal)]
        first, second = _halves(members)
        return [
            *_of_one_organization(first, organization, wait=wait, now=now),
            *_of_one_organization(second, organization, wait=wait, now=now),
        ]
    spans = [telemetry.begin_accept(each.trace) for each in members]
    return [
        Ready(each.entry, _dated(each, events, trace=span.own, now=now), span)
        for each, span in zip(members, spans, strict=True)
    ]


def _dated(each: ParsedEntry, events: Iterator[NewEvent], *, trace: str | None, now: datetime) -> list[NewEvent]:
    """Take an entry's events from the iterator; without a timestamp they get the time at which Redis accepted it."""
    added_at = moment_of(each.entry.id, now=now)
    own = zip(each.parsed.events, islice(events, len(each.parsed.events)), strict=True)
    dated = [event if parsed.timestamp else replace(event, occurred_at=added_at) for parsed, event in own]
    if each.hops is None and trace is None:
        return dated
    return [replace(event, hops=each.hops, trace=event.trace or trace) for event in dated]


def _accept(ready: Sequence[Ready], *, wait: timedelta, now: datetime) -> list[InvalidEntry]:
    """Accept entries in one transaction, without those that are rejected; return the rejected ones."""
    if not ready:
        return []
    try:
        with sql.atomic_waiting(wait):
            pipeline.accept([event for each in ready for event in each.events], now=now)
    except IdempotencyConflict as conflict:
        rejected = _in_conflict(ready, set(conflict.positions))
        rejected_ids = {each.entry.id for each in rejected}
        return rejected + _accept([each for each in ready if each.entry.id not in rejected_ids], wait=wait, now=now)
    except (DataError, IntegrityError, UnicodeError) as error:
        # Only these errors are about the data. All others are transient, and reach the caller.
        if len(ready) == 1:
            return [InvalidEntry(ready[0].entry, f"The database rejected it: {error}")]
        first, second = _halves(ready)
        return _accept(first, wait=wait, now=now) + _accept(second, wait=wait, now=now)
    for each in ready:
        telemetry.end_accept(each.span, events=len(each.events))
    return []


def _in_conflict(ready: Sequence[Ready], positions: set[int]) -> list[InvalidEntry]:
    """Return the entries that hold the events at these positions, each with an error for the first of its events."""
    rejected = []
    start = 0
    for each in ready:
        own = [position - start for position in range(start, start + len(each.events)) if position in positions]
        if own:
            field = f"events[{own[0]}].id" if b"events" in each.entry.fields[::2] else "id"
            rejected.append(InvalidEntry(each.entry, f"{field}: {KEY_REUSED}", 409))
        start += len(each.events)
    return rejected


def _halves(several: Sequence[Each]) -> tuple[Sequence[Each], Sequence[Each]]:
    middle = len(several) // 2
    return several[:middle], several[middle:]

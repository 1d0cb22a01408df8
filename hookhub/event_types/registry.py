"""An organization's event types: those it has registered, then those that its default dialect documents."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from deliveries import audit, compact_json, plain_text
from deliveries.event_types import catalogue
from deliveries.event_types.catalogue import Catalogue, EventType
from deliveries.event_types.topics import RESERVED, TYPE_RULE, is_type
from deliveries.models import Organization
from deliveries.webhooks.fields import UNSTORABLE, InvalidFields
from hookhub.audited import audited
from hookhub.event_types import schemas
from hookhub.event_types.schemas import Budget
from hookhub.models import OwnEventType
from hookhub.row_cache import RowCache

# An organization's types are always loaded together.
MAX_CUSTOM_TYPES = 200
MAX_DESCRIPTION_LENGTH = 500
MAX_EXAMPLE_LENGTH = 64 * 1024
# An error response lists at most this many errors.
MAX_ERRORS = 100
FIELDS = ("type", "description", "schema", "example")


class Taken(Exception):
    """The organization has already registered this type."""


def own(organization: Organization) -> Catalogue:
    """Return the types that the organization has registered."""
    rows = OwnEventType.objects.filter(organization=organization).order_by("type")[:MAX_CUSTOM_TYPES]
    return Catalogue("own", {row.type: as_event_type(row) for row in rows}, lists_families=True)


_catalogues = RowCache[int, Catalogue]()


def cached_custom(organization: Organization, *, now: datetime) -> Catalogue:
    """Return the registered types from a cache that is a few seconds old at most.

    That is good enough to accept an event; an event that it rejects must be checked against the database again.
    """
    found = _catalogues.get(organization.pk, now=now)
    if found is None:
        generation = _catalogues.generation
        found = own(organization)
        _catalogues.put(organization.pk, found, now=now, generation=generation)
    return found


def invalidate_organization(organization_id: int) -> None:
    """Evict an organization's types from this process's cache."""
    _catalogues.evict(organization_id)


def invalidate_all() -> None:
    """Evict all types from this process's cache."""
    _catalogues.clear()


def find(organization: Organization, event_type: str, data: object, *, own: Catalogue) -> EventType | None:
    """Return the definition of an event's type, registered ones first, or None if the type is unknown."""
    return own.find(event_type, data) or catalogue.of(organization.default_dialect).find(event_type, data)


def knows(organization: Organization, word: str, *, dialect: str | None = None) -> bool:
    """Return whether a webhook may subscribe to ``word``: the dialect documents it, or the organization registered it.

    ``dialect`` overrides the organization's default dialect.
    """
    return catalogue.of(dialect or organization.default_dialect).knows(word) or own(organization).knows(word)


def as_event_type(row: OwnEventType) -> EventType:
    """Return a registered type as a catalogue entry."""
    return EventType(row.type, row.description, row.schema, row.example)


# Registering ----------------------------------------------------------------------------------------------------------


def register(wanted: Mapping[str, object], *, organization: Organization, now: datetime) -> OwnEventType:
    """Register an event type; raise InvalidFields if a field is invalid, and Taken if the type is registered."""
    if "type" not in wanted:
        raise InvalidFields({"type": "is required"})
    granted = check(wanted)
    with transaction.atomic():
        # Locked, so that concurrent requests cannot exceed the limit together.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        if OwnEventType.objects.filter(organization=organization).count() >= MAX_CUSTOM_TYPES:
            raise InvalidFields(
                {"type": f"limit reached: an organization can have at most {MAX_CUSTOM_TYPES} custom event types"}
            )
        try:
            with transaction.atomic():
                row = OwnEventType.objects.create(organization=organization, created_at=now, changed_at=now, **granted)
                target, state = audited(row)
                audit.record("event_type.created", target=target, after=state, now=now)
        except IntegrityError as error:
            raise Taken from error
    _catalogues.evict(organization.pk)
    return row


def change(row: OwnEventType, wanted: Mapping[str, object], *, now: datetime) -> OwnEventType:
    """Change the given fields of a registered type and return it; raise InvalidFields if a field is invalid."""
    if wanted.get("type", row.type) != row.type:
        raise InvalidFields({"type": "cannot be changed; register a new event type instead"})
    with transaction.atomic():
        # Locked, because the example must match the schema, and a concurrent request may change either.
        row = OwnEventType.objects.select_for_update(no_key=True).get(pk=row.pk)
        granted = check(wanted, now=row)
        target, state_before = audited(row)
        for name, value in granted.items():
            setattr(row, name, value)
        row.changed_at = now
        row.save(update_fields=[*granted, "changed_at"])
        audit.record_update("event_type.updated", target=target, before=state_before, after=audited(row)[1], now=now)
    _catalogues.evict(row.organization_id)
    return row


def forget(row: OwnEventType, *, now: datetime) -> None:
    """Delete a registered type, after which the dialect's definition applies again."""
    with transaction.atomic():
        target, state = audited(row)
        if row.delete()[0]:
            audit.record("event_type.deleted", target=target, before=state, now=now)
    _catalogues.evict(row.organization_id)


def check(wanted: Mapping[str, object], *, now: OwnEventType | None = None) -> dict[str, str | None]:
    """Return the given fields as they are stored; raise InvalidFields with every invalid field.

    ``now`` is the registered type if one is to be changed.
    """
    faults = {name: f"is not a field of an event type; the fields are: {', '.join(FIELDS)}" for name in wanted}
    for name in FIELDS:
        faults.pop(name, None)
    for name, value in wanted.items():
        if name in CHECKS and (fault := CHECKS[name](value)) is not None:
            faults[name] = fault
    if faults:
        raise InvalidFields(faults)
    granted = {name: _stored(name, value) for name, value in wanted.items()}
    before = {} if now is None else {"schema": now.schema, "example": now.example}
    schema, example = ((before | granted).get(name) for name in ("schema", "example"))
    if schema is not None and example is not None:
        found = schemas.faults_in(json.loads(example), schema, budget=Budget())
        if found:
            raise InvalidFields({f"example{path.removeprefix('data')}": fault for path, fault in found.items()})
    return granted


def _stored(name: str, value: object) -> str | None:
    """Return a valid field as its column stores it."""
    if name in {"type", "description"}:
        return str(value)
    return None if value is None else compact_json.encode(value).decode()


def _fault_in_type(value: object) -> str | None:
    if not isinstance(value, str) or not is_type(value):
        return TYPE_RULE
    if f"{value}.".startswith(RESERVED) or value == "ping":
        return "is reserved for HookHub's system events"
    return None


def _fault_in_description(value: object) -> str | None:
    is_text = isinstance(value, str) and len(value) <= MAX_DESCRIPTION_LENGTH and not UNSTORABLE.search(value)
    if not isinstance(value, str) or not is_text:
        return f"must be a string of at most {MAX_DESCRIPTION_LENGTH} characters, without NUL or unpaired surrogates"
    return plain_text.error_in(value)


def _fault_in_schema(value: object) -> str | None:
    return None if value is None else schemas.fault_in_schema(value)


def _fault_in_example(value: object) -> str | None:
    return schemas.fault_in_size(value, most=MAX_EXAMPLE_LENGTH)


CHECKS: Mapping[str, Any] = {
    "type": _fault_in_type,
    "description": _fault_in_description,
    "schema": _fault_in_schema,
    "example": _fault_in_example,
}


# Checking what is published -----------------------------------------------------------------------------------------


def faults_in(
    events: Iterable[tuple[str, object]], *, organization: Organization, own: Catalogue, budget: Budget
) -> dict[tuple[int, str], str]:
    """Return the errors in events, given as (type, data) pairs, by position and by path within the data."""
    faults: dict[tuple[int, str], str] = {}
    for position, (event_type, data) in enumerate(events):
        found = find(organization, event_type, data, own=own)
        if found is not None and found.schema_text is not None:
            for path, fault in schemas.faults_in(data, found.schema_text, budget=budget).items():
                faults[position, path] = fault
        # Further errors would not be listed, and a completely invalid request should end early.
        if len(faults) >= MAX_ERRORS:
            break
    return faults

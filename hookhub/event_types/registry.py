"""An organization's event types: those it has registered, then those that its default dialect documents."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from deliveries import audit, compact_json, plain_text
from deliveries.event_types import catalogue
from deliveries.event_types.catalogue import Catalogue, EventType
from deliveries.event_types.topics import RESERVED, TYPE_RULE, is_reserved, is_type
from deliveries.models import Organization
from deliveries.webhooks.fields import UNSTORABLE, InvalidFields
from hookhub.audited import audited
from hookhub.event_types import schemas, validation
from hookhub.event_types.validation import Budget
from hookhub.models import CustomEventType
from hookhub.row_cache import RowCache

# An organization's types are always loaded together.
MAX_CUSTOM_TYPES = 200
MAX_DESCRIPTION_LENGTH = 500
MAX_EXAMPLE_LENGTH = 64 * 1024
# An error response lists at most this many errors.
MAX_ERRORS = 100
FIELDS = ("type", "description", "schema", "example")


class AlreadyRegistered(Exception):
    """The organization has already registered this type."""


def custom(organization: Organization) -> Catalogue:
    """Return the types that the organization has registered."""
    rows = CustomEventType.objects.filter(organization=organization).order_by("type")[:MAX_CUSTOM_TYPES]
    return Catalogue("own", {row.type: as_event_type(row) for row in rows}, lists_families=True)


_catalogues = RowCache[int, Catalogue]()


def cached_custom(organization: Organization, *, now: datetime) -> Catalogue:
    """Return the registered types from a cache that is a few seconds old at most.

    That is good enough to accept an event; an event that it rejects must be checked against the database again.
    """
    found = _catalogues.get(organization.pk, now=now)
    if found is None:
        generation = _catalogues.generation
        found = custom(organization)
        _catalogues.put(organization.pk, found, now=now, generation=generation)
    return found


def invalidate_organization(organization_id: int) -> None:
    """Evict an organization's types from this process's cache."""
    _catalogues.evict(organization_id)


def invalidate_all() -> None:
    """Evict all types from this process's cache."""
    _catalogues.clear()


def find(organization: Organization, event_type: str, data: object, *, custom: Catalogue) -> EventType | None:
    """Return the definition of an event's type, registered ones first, or None if the type is unknown."""
    return custom.find(event_type, data) or catalogue.of(organization.default_dialect).find(event_type, data)


def types_of(organization: Organization) -> dict[str, EventType]:
    """Return an organization's types by name: those it has registered, then those that its default dialect documents.

    A registered type replaces the documented one of the same name.
    """
    own = custom(organization).types
    return {**own, **catalogue.of(organization.default_dialect).types, **own}


def as_event_type(row: CustomEventType) -> EventType:
    """Return a registered type as a catalogue entry."""
    return EventType(row.type, row.description, row.schema, row.example)


# Registering ----------------------------------------------------------------------------------------------------------


def register(fields: Mapping[str, object], *, organization: Organization, now: datetime) -> CustomEventType:
    """Register an event type; raise InvalidFields if a field is invalid, or AlreadyRegistered."""
    if "type" not in fields:
        raise InvalidFields({"type": "is required"})
    cleaned = validate(fields)
    with transaction.atomic():
        # Locked, so that concurrent requests cannot exceed the limit together.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        if CustomEventType.objects.filter(organization=organization).count() >= MAX_CUSTOM_TYPES:
            raise InvalidFields(
                {"type": f"limit reached: an organization can have at most {MAX_CUSTOM_TYPES} custom event types"}
            )
        try:
            with transaction.atomic():
                row = CustomEventType.objects.create(
                    organization=organization, created_at=now, changed_at=now, **cleaned
                )
                target, state = audited(row)
                audit.record("event_type.created", target=target, after=state, now=now)
        except IntegrityError as error:
            raise AlreadyRegistered from error
    _catalogues.evict(organization.pk)
    return row


def change(row: CustomEventType, fields: Mapping[str, object], *, now: datetime) -> CustomEventType:
    """Change the given fields of a registered type and return it; raise InvalidFields if a field is invalid."""
    if fields.get("type", row.type) != row.type:
        raise InvalidFields({"type": "cannot be changed; register a new event type instead"})
    with transaction.atomic():
        # Locked, because the example must match the schema, and a concurrent request may change either.
        row = CustomEventType.objects.select_for_update(no_key=True).get(pk=row.pk)
        cleaned = validate(fields, stored=row)
        target, state_before = audited(row)
        for name, value in cleaned.items():
            setattr(row, name, value)
        row.changed_at = now
        row.save(update_fields=[*cleaned, "changed_at"])
        audit.record_update("event_type.updated", target=target, before=state_before, after=audited(row)[1], now=now)
    _catalogues.evict(row.organization_id)
    return row


def delete(row: CustomEventType, *, now: datetime) -> None:
    """Delete a registered type, after which the dialect's definition applies again."""
    with transaction.atomic():
        target, state = audited(row)
        if row.delete()[0]:
            audit.record("event_type.deleted", target=target, before=state, now=now)
    _catalogues.evict(row.organization_id)


def validate(fields: Mapping[str, object], *, stored: CustomEventType | None = None) -> dict[str, str | None]:
    """Return the given fields as they are stored; raise InvalidFields with every invalid field.

    ``stored`` is the registered type if one is to be changed.
    """
    errors = {name: f"is not a field of an event type; the fields are: {', '.join(FIELDS)}" for name in fields}
    for name in FIELDS:
        errors.pop(name, None)
    for name, value in fields.items():
        if name in VALIDATORS and (error := VALIDATORS[name](value)) is not None:
            errors[name] = error
    if errors:
        raise InvalidFields(errors)
    cleaned = {name: _stored(name, value) for name, value in fields.items()}
    before = {} if stored is None else {"schema": stored.schema, "example": stored.example}
    schema, example = ((before | cleaned).get(name) for name in ("schema", "example"))
    if schema is not None and example is not None:
        found = validation.errors_in(json.loads(example), schema, budget=Budget())
        if found:
            raise InvalidFields({f"example{path.removeprefix('data')}": error for path, error in found.items()})
    return cleaned


def _stored(name: str, value: object) -> str | None:
    """Return a valid field as its column stores it."""
    if name in {"type", "description"}:
        return str(value)
    return None if value is None else compact_json.encode(value).decode()


def _type_error(value: object) -> str | None:
    if not isinstance(value, str) or not is_type(value):
        return TYPE_RULE
    if f"{value}.".startswith(RESERVED) or is_reserved(value) or value == "ping":
        return "is reserved for HookHub's system events"
    return None


def _description_error(value: object) -> str | None:
    is_text = isinstance(value, str) and len(value) <= MAX_DESCRIPTION_LENGTH and not UNSTORABLE.search(value)
    if not isinstance(value, str) or not is_text:
        return f"must be a string of at most {MAX_DESCRIPTION_LENGTH} characters, without NUL or unpaired surrogates"
    return plain_text.error_in(value)


VALIDATORS: Mapping[str, Any] = {
    "type": _type_error,
    "description": _description_error,
    "schema": lambda value: None if value is None else schemas.schema_error(value),
    "example": lambda value: schemas.size_error(value, most=MAX_EXAMPLE_LENGTH),
}


# Checking what is published -----------------------------------------------------------------------------------------


def errors_in(
    events: Iterable[tuple[str, object]], *, organization: Organization, custom: Catalogue, budget: Budget
) -> dict[tuple[int, str], str]:
    """Return the errors in events, given as (type, data) pairs, by position and by path within the data."""
    errors: dict[tuple[int, str], str] = {}
    for position, (event_type, data) in enumerate(events):
        found = find(organization, event_type, data, custom=custom)
        if found is not None and found.schema_text is not None:
            for path, error in validation.errors_in(data, found.schema_text, budget=budget).items():
                errors[position, path] = error
        # Further errors would not be listed, and a completely invalid request should end early.
        if len(errors) >= MAX_ERRORS:
            break
    return errors

"""Test events for a webhook: examples of the types it subscribes to, from its organization or from a catalogue."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from deliveries.event_types import catalogue
from deliveries.event_types.catalogue import Catalogue, EventType
from deliveries.event_types.topics import EVERYTHING, TYPE_RULE, is_reserved, is_type, system_topics, topics_of
from deliveries.models import Webhook
from deliveries.systems import DEFAULT, SYSTEMS
from deliveries.webhooks.fields import InvalidFields
from hookhub.event_types import registry, schemas, validation
from hookhub.event_types.validation import Budget

OWN = "own"


@dataclass(frozen=True, slots=True)
class Example:
    """A test event for a webhook; ``name`` is what to call it: ``issues.closed`` for ``issues`` with that action."""

    name: str
    type: str
    data: object


def pick(webhook: Webhook, event_type: object = None) -> Example:
    """Return an example of the given type, or of the first one the webhook subscribes to; raise InvalidFields."""
    found = by_name(webhook)
    if event_type is None:
        if not found:
            raise InvalidFields(
                {"type": f"no example is available for the event types of this webhook ({listed(webhook)})"}
            )
        return min(found.values(), key=lambda example: _rank(example, webhook))
    if not isinstance(event_type, str):
        raise InvalidFields({"type": "must be the name of an event type"})
    if event_type in found:
        return found[event_type]
    example = next(_examples_of(event_type, webhook), None)
    if example is None:
        raise InvalidFields(
            {"type": "no example is available for this event type; register one with POST /v1/event-types"}
        )
    if not _is_asked_for(example, webhook):
        raise InvalidFields({"type": f"the webhook is not subscribed to this type; its types are: {listed(webhook)}"})
    return example


def with_data(webhook: Webhook, event_type: object, data: object) -> Example:
    """Return a test event of a type that the webhook subscribes to, with the given data; raise InvalidFields.

    Unlike published data, it must match the schema of its type whatever the organization has chosen: a test is to show
    what the receiver does with a real event.
    """
    if not isinstance(event_type, str) or not is_type(event_type):
        raise InvalidFields({"type": f"must be the event type of the data; {TYPE_RULE}"})
    named = by_name(webhook).get(event_type)
    example = Example(event_type, event_type if named is None else named.type, data)
    if not _is_asked_for(example, webhook):
        raise InvalidFields({"type": f"the webhook is not subscribed to this type; its types are: {listed(webhook)}"})
    if error := schemas.size_error(data, most=settings.HOOKHUB_PAYLOAD_LIMIT):
        raise InvalidFields({"data": error})
    custom = registry.custom(webhook.organization)
    events = [(example.type, data)]
    found = registry.errors_in(events, organization=webhook.organization, custom=custom, budget=Budget())
    if found:
        raise InvalidFields({path: error for (_, path), error in found.items()})
    return example


def offered(webhook: Webhook) -> dict[str, Example]:
    """Return what ``by_name`` does, and for each type without an example one with no more than ``"test": true``."""
    found = by_name(webhook)
    known = {topic for example in found.values() for topic in _topics(example)}
    custom = registry.custom(webhook.organization).types
    for name in [*custom, *(word for word in webhook.events if is_type(word) and word != "ping")]:
        example = Example(name, name, {"test": True})
        if name not in found and name not in known and _is_asked_for(example, webhook):
            found[name] = example
    return found


def by_name(webhook: Webhook) -> dict[str, Example]:
    """Return an example of each type that a webhook subscribes to, by name; its organization's take precedence."""
    # One for all: two hundred types of one's own may have schemas that each take a second.
    budget = Budget()
    found: dict[str, Example] = {}
    for each in _catalogues(webhook):
        # The first catalogue that defines a type takes precedence.
        for example in _examples_in(each, webhook, budget=budget):
            found.setdefault(example.name, example)
    if not found:
        # None of the webhook's catalogues has an example, and one from another system is better than none.
        found = {
            example.name: example for each in _others(webhook) for example in _examples_in(each, webhook, budget=budget)
        }
    return found


def listed(webhook: Webhook) -> str:
    """Return the first event types that a webhook subscribes to, as text."""
    return ", ".join(webhook.events[:10]) + (", …" if len(webhook.events) > 10 else "")


def _catalogues(webhook: Webhook) -> list[Catalogue]:
    """Return the webhook's catalogues: its organization's, its dialect's, and those of systems with its wire format."""
    return [registry.custom(webhook.organization), *map(catalogue.of, _dialects(webhook))]


def _others(webhook: Webhook) -> list[Catalogue]:
    """Return the catalogues of all other systems."""
    return [catalogue.of(slug) for slug in SYSTEMS if slug not in _dialects(webhook)]


def _dialects(webhook: Webhook) -> list[str]:
    # HookHub's own system does not count here, because events of any system can be sent in its format.
    of_the_format = [
        dialect.slug
        for dialect in SYSTEMS.values()
        if dialect.wire_format == webhook.format and dialect.slug != DEFAULT
    ]
    return list(dict.fromkeys([webhook.organization.default_dialect, *of_the_format]))


def _examples_in(source: Catalogue, webhook: Webhook, *, budget: Budget) -> Iterator[Example]:
    for entry in source.types.values():
        for name in (entry.type, *(word for word in webhook.events if source.joined.get(word) is entry)):
            example = _example(entry, name, source, budget=budget)
            if example is not None and _is_asked_for(example, webhook):
                yield example


def _examples_of(name: str, webhook: Webhook) -> Iterator[Example]:
    for source in [*_catalogues(webhook), *_others(webhook)]:
        entry = source.find(name, None)
        if entry is not None and (example := _example(entry, name, source, budget=Budget())) is not None:
            yield example


def _example(entry: EventType, name: str, source: Catalogue, *, budget: Budget) -> Example | None:
    """Return an example of a type under a name that may include an action, or None if there is none.

    It is marked as a test only while the budget for validating what was marked lasts.
    """
    data = entry.example
    if entry.example_text is None:
        return None
    if name.startswith(f"{entry.type}."):
        if not isinstance(data, dict):
            return None
        data = {**data, "action": name.removeprefix(f"{entry.type}.")}
    # An example from another system's catalogue stays exactly as that system documents it, without ``test``.
    if source.dialect in {OWN, DEFAULT} and isinstance(data, dict):
        marked = {**data, "test": True}
        if entry.schema_text is None or not validation.errors_in(marked, entry.schema_text, budget=budget):
            data = marked
    return Example(name, entry.type, data)


def _is_asked_for(example: Example, webhook: Webhook) -> bool:
    return not _topics(example).isdisjoint(webhook.events)


def _topics(example: Example) -> set[str]:
    # HookHub's own system events do not match ``*``, for tests as for real events.
    if is_reserved(example.type):
        return set(system_topics(example.type))
    topics = set(topics_of(example.type, example.data))
    return topics - {EVERYTHING} if example.type == "ping" else topics


def _rank(example: Example, webhook: Webhook) -> tuple[int, bool]:
    """Return a sort key: the order of the webhook's event types, then ``push`` first, as most receivers expect it."""
    topics = _topics(example)
    return next(place for place, word in enumerate(webhook.events) if word in topics), example.type != "push"

"""Test events for a webhook: examples of the types it subscribes to, from its organization or from a catalogue."""

from collections.abc import Iterator
from dataclasses import dataclass

from deliveries.event_types import catalogue
from deliveries.event_types.catalogue import Catalogue, EventType
from deliveries.event_types.topics import EVERYTHING, RESERVED, topics_of
from deliveries.models import Webhook
from deliveries.systems import DEFAULT, DIALECTS
from deliveries.webhooks.fields import InvalidFields
from hookhub.event_types import registry, schemas
from hookhub.event_types.schemas import Budget

OWN = "own"


@dataclass(frozen=True, slots=True)
class Sample:
    """A test event for a webhook; ``name`` is what to call it: ``issues.closed`` for ``issues`` with that action."""

    name: str
    type: str
    data: object


def choose(webhook: Webhook, wanted: object = None) -> Sample:
    """Return an example of the given type, or of the first one the webhook subscribes to; raise InvalidFields."""
    found = samples_for(webhook)
    if wanted is None:
        if not found:
            raise InvalidFields(
                {"type": f"no example is available for the event types of this webhook ({listed(webhook)})"}
            )
        return min(found.values(), key=lambda sample: _rank(sample, webhook))
    if not isinstance(wanted, str):
        raise InvalidFields({"type": "must be the name of an event type"})
    if wanted in found:
        return found[wanted]
    sample = next(_examples_of(wanted, webhook), None)
    if sample is None:
        raise InvalidFields(
            {"type": "no example is available for this event type; register one with POST /v1/event-types"}
        )
    if not _is_asked_for(sample, webhook):
        raise InvalidFields({"type": f"the webhook is not subscribed to this type; its types are: {listed(webhook)}"})
    return sample


def samples_for(webhook: Webhook) -> dict[str, Sample]:
    """Return an example of each type that a webhook subscribes to, by name; its organization's take precedence."""
    found: dict[str, Sample] = {}
    for each in _catalogues(webhook):
        # The first catalogue that defines a type takes precedence.
        for sample in _samples_in(each, webhook):
            found.setdefault(sample.name, sample)
    if not found:
        # None of the webhook's catalogues has an example, and one from another system is better than none.
        found = {sample.name: sample for each in _others(webhook) for sample in _samples_in(each, webhook)}
    return found


def listed(webhook: Webhook) -> str:
    """Return the first event types that a webhook subscribes to, as text."""
    return ", ".join(webhook.events[:10]) + (", …" if len(webhook.events) > 10 else "")


def _catalogues(webhook: Webhook) -> list[Catalogue]:
    """Return the webhook's catalogues: its organization's, its dialect's, and those of systems with its wire format."""
    return [registry.own(webhook.organization), *map(catalogue.of, _dialects(webhook))]


def _others(webhook: Webhook) -> list[Catalogue]:
    """Return the catalogues of all other systems."""
    return [catalogue.of(slug) for slug in DIALECTS if slug not in _dialects(webhook)]


def _dialects(webhook: Webhook) -> list[str]:
    # HookHub's own system does not count here, because events of any system can be sent in its format.
    of_the_format = [
        dialect.slug
        for dialect in DIALECTS.values()
        if dialect.wire_format == webhook.format and dialect.slug != DEFAULT
    ]
    return list(dict.fromkeys([webhook.organization.default_dialect, *of_the_format]))


def _samples_in(source: Catalogue, webhook: Webhook) -> Iterator[Sample]:
    for entry in source.types.values():
        for name in (entry.type, *(word for word in webhook.events if source.joined.get(word) is entry)):
            sample = _sample(entry, name, source)
            if sample is not None and _is_asked_for(sample, webhook):
                yield sample


def _examples_of(name: str, webhook: Webhook) -> Iterator[Sample]:
    for source in [*_catalogues(webhook), *_others(webhook)]:
        entry = source.find(name, None)
        if entry is not None and (sample := _sample(entry, name, source)) is not None:
            yield sample


def _sample(entry: EventType, name: str, source: Catalogue) -> Sample | None:
    """Return an example of a type under a name that may include an action, or None if there is none."""
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
        if entry.schema_text is None or not schemas.faults_in(marked, entry.schema_text, budget=Budget()):
            data = marked
    return Sample(name, entry.type, data)


def _is_asked_for(sample: Sample, webhook: Webhook) -> bool:
    return not _topics(sample).isdisjoint(webhook.events)


def _topics(sample: Sample) -> set[str]:
    topics = set(topics_of(sample.type, sample.data))
    # HookHub's own system events do not match ``*``, for tests as for real events.
    return topics - {EVERYTHING} if sample.type == "ping" or sample.type.startswith(RESERVED) else topics


def _rank(sample: Sample, webhook: Webhook) -> tuple[int, bool]:
    """Return a sort key: the order of the webhook's event types, then ``push`` first, as most receivers expect it."""
    topics = _topics(sample)
    return next(place for place, word in enumerate(webhook.events) if word in topics), sample.type != "push"

"""Events, the receipts of published ones, and the batches in which they are sent."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .encoding import Json, encode, rfc3339


@dataclass(frozen=True)
class Event:
    """An event to publish.

    ``type`` is a dotted name such as ``issues.opened``. ``data`` is any value that ``json.dumps`` accepts, up to 1 MiB
    of JSON unless the server is configured otherwise. ``repository`` is ``widgets`` or ``acme/widgets``. ``id`` is the
    idempotency key, at most 255 characters and unique within the organization; without one the client generates it.
    ``timestamp`` says when the event happened and needs a time zone; the default is the time of acceptance.
    ``organization`` (a slug) is for operator keys only. ``trace`` is the event's trace, as OpenTelemetry's
    ``propagate.inject`` fills a dict: ``traceparent`` and ``tracestate``, which receivers are sent.
    """

    type: str
    data: Any
    repository: str | None = None
    id: str | None = None
    timestamp: datetime | None = None
    organization: str | None = None
    trace: Mapping[str, str] | None = None

    def as_json(self) -> Json:
        """Return the event as the API takes it, without those optional fields that are None.

        Raise ValueError for a timestamp without a time zone, which would be ambiguous.
        """
        fields = {
            "type": self.type,
            "data": self.data,
            "repository": self.repository,
            "id": self.id,
            "timestamp": rfc3339(self.timestamp),
            "organization": self.organization,
            "trace": None if self.trace is None else dict(self.trace),
        }
        return {name: value for name, value in fields.items() if value is not None or name == "data"}


@dataclass(frozen=True)
class PublishedEvent:
    """A receipt: HookHub has stored the event and will deliver it.

    ``id`` is the event's id at HookHub, not the idempotency key. ``accepted_at`` is the time of its first acceptance.
    ``replayed`` is True when every event of the request had been published before, so that nothing new was stored.
    """

    id: str
    type: str
    accepted_at: datetime
    replayed: bool


def batches(events: Iterable[Event], *, max_events: int, max_bytes: int) -> Iterator[list[bytes]]:
    """Yield the events as JSON, as many at a time as the limits allow; an event over the limit is sent alone.

    An event without an id gets one, so that a retry of the request is deduplicated.
    """
    batch: list[bytes] = []
    size = 0
    for event in events:
        # An empty id is HookHub's to refuse: a generated one would not recognize a repetition.
        line = encode((replace(event, id=uuid.uuid4().hex) if event.id is None else event).as_json())
        # With the line break that separates it from the next.
        length = len(line) + 1
        if batch and (len(batch) == max_events or size + length > max_bytes):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield batch

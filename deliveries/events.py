"""The input and output types of ``pipeline.accept``, and constructors of events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import OperationalError

from deliveries import compact_json
from deliveries.policy import trace_context


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to store; ``payload`` is the exact bytes of one JSON value.

    With an ``idempotency_key``, ``fingerprint`` identifies the content: the same key with another fingerprint is a
    conflict. ``webhook_id`` restricts a ping or test event to one webhook. ``hops`` is the header with which it was
    published, as returned by ``hops.validate``; ``trace`` is its trace, as returned by ``trace_context.read``.
    """

    organization_id: int
    repository_id: int | None
    type: str
    topics: tuple[str, ...]
    payload: bytes
    occurred_at: datetime
    idempotency_key: str | None = None
    fingerprint: bytes | None = None
    webhook_id: int | None = None
    hops: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receipt of a stored event; ``is_repeat`` if it was stored by an earlier request with the same key."""

    id: UUID
    type: str
    accepted_at: datetime
    is_repeat: bool


class IdempotencyConflict(Exception):
    """An idempotency key was used before for other content; no event of the batch was accepted."""

    def __init__(self, positions: Sequence[int]) -> None:
        super().__init__(f"idempotency key already used with different content, at {list(positions)}")
        self.positions = tuple(positions)


class StaleNames(OperationalError):
    """A cached name no longer matches; no event was stored, and the caller may retry with names read afresh."""


@dataclass(frozen=True, slots=True)
class NameSnapshot:
    """Cached names of organizations and repositories the events were resolved with, by id; STORE_EVENTS checks them."""

    organizations: Mapping[int, str]
    repositories: Mapping[int, str]


NO_SNAPSHOT = NameSnapshot({}, {})


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one request, stored all or none, and the cached names that they were resolved with."""

    events: Sequence[NewEvent]
    snapshot: NameSnapshot = NO_SNAPSHOT

    @property
    def may_be_partial(self) -> bool:
        """Whether a statement may store only a part of it, because of a known key or a stale name."""
        return len(self.events) > 1 and any(event.idempotency_key is not None for event in self.events)


def targeted_event(
    webhook_id: int,
    event_type: str,
    data: object,
    *,
    organization_id: int,
    repository_id: int | None,
    now: datetime,
) -> NewEvent:
    """Return an event that only one webhook receives, whatever its subscription: a ping or a test event."""
    return NewEvent(
        organization_id=organization_id,
        repository_id=repository_id,
        type=event_type,
        topics=(event_type,),
        payload=compact_json.encode(data),
        occurred_at=now,
        webhook_id=webhook_id,
        trace=trace_context.current(),
    )

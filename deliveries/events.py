"""Events on their way in: what is handed to accept, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import OperationalError

from deliveries import arrays, compact_json
from deliveries.topics import topics_of


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event as its publisher handed it in: ``payload`` is the exact bytes of one JSON value.

    With an ``idempotency_key``, ``fingerprint`` is what the key stands for: the same key with another is a conflict.
    ``webhook_id`` narrows a ping or a test down to one webhook. ``hops`` is the header that it was published with, as
    ``hops.require_few`` returns it.
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


@dataclass(frozen=True, slots=True)
class Accepted:
    """The receipt for an event: it is stored, and will be delivered."""

    id: UUID
    type: str
    accepted_at: datetime
    is_repeat: bool


class IdempotencyConflict(Exception):
    """A key was used before for something else; nothing of the batch was accepted."""

    def __init__(self, positions: Sequence[int]) -> None:
        super().__init__(f"idempotency key already used with other content, at {list(positions)}")
        self.positions = tuple(positions)


class Outdated(OperationalError):
    """What the events go by is so no longer; none of them is stored, and whoever looks afresh may repeat them."""


@dataclass(frozen=True, slots=True)
class Premises:
    """What the events go by that was not looked up just now: the names of organizations and repositories, by id."""

    organizations: Mapping[int, str]
    repositories: Mapping[int, str]


NO_PREMISES = Premises({}, {})


def as_columns(
    events: Sequence[NewEvent], *, ids: Sequence[UUID], premises: Premises, now: datetime
) -> dict[str, object]:
    """Give events as one array for each column, and what they go by, as STORE_EVENTS takes them."""
    return {
        "ids": arrays.uuids(ids),
        "organizations": arrays.bigints(event.organization_id for event in events),
        "repositories": arrays.bigints(event.repository_id for event in events),
        "webhooks": arrays.bigints(event.webhook_id for event in events),
        "types": arrays.texts(event.type for event in events),
        "topics": arrays.texts(" ".join(event.topics) for event in events),
        "payloads": arrays.byteas(event.payload for event in events),
        "keys": arrays.texts(event.idempotency_key for event in events),
        "fingerprints": arrays.byteas(event.fingerprint for event in events),
        "hops": arrays.texts(event.hops for event in events),
        "occurred": arrays.moments(event.occurred_at for event in events),
        "known_organizations": arrays.bigints(premises.organizations),
        "slugs": arrays.texts(premises.organizations.values()),
        "known_repositories": arrays.bigints(premises.repositories),
        "names": arrays.texts(premises.repositories.values()),
        "now": now,
    }


def only_for(
    webhook_id: int,
    event_type: str,
    data: object,
    *,
    organization_id: int,
    repository_id: int | None,
    now: datetime,
) -> NewEvent:
    """Make up an event that only one webhook gets, whatever it subscribes to: a ping, or a test."""
    return NewEvent(
        organization_id=organization_id,
        repository_id=repository_id,
        type=event_type,
        topics=(event_type,),
        payload=compact_json.encode(data),
        occurred_at=now,
        webhook_id=webhook_id,
    )


def operational(event_type: str, *, organization_id: int, data: object, now: datetime) -> NewEvent:
    """Make up an event about HookHub itself.

    It carries no ``*``: a receiver that asked for everything its forge does is not to meet our own housekeeping.
    """
    topics = tuple(topic for topic in topics_of(event_type, data) if topic != "*")
    return NewEvent(
        organization_id=organization_id,
        repository_id=None,
        type=event_type,
        topics=topics,
        payload=compact_json.encode(data),
        occurred_at=now,
    )

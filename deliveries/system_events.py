"""System events: what happened to HookHub's own objects, for webhooks of the same organization that ask for it.

They are of the types in ``topics``, belong to no repository, and are not part of ``*``. Those of this module are stored
only if a webhook subscribes to them, by the transaction of the change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from deliveries import audit, compact_json, telemetry, wakeup
from deliveries.db import arrays, sql
from deliveries.db.ids import uuid7s
from deliveries.event_types.topics import system_topics
from deliveries.events import NewEvent
from deliveries.formats import format_of
from deliveries.models import Webhook
from deliveries.policy import trace_context

EXHAUSTED = "delivery.exhausted"


@dataclass(frozen=True, slots=True)
class About:
    """What a system event says of the webhook that it is about; ``url`` is as it may be shown."""

    id: UUID
    name: str
    url: str

    @classmethod
    def of(cls, webhook: Webhook) -> "About":
        """Return what is said of a webhook."""
        return cls(webhook.uid, webhook.name, webhook.shown_url)

    @classmethod
    def stored(cls, uid: UUID, name: str, *, url: str, format: str) -> "About":
        """Return the same of the columns of a webhook."""
        return cls(uid, name, format_of(format).show_url(url))


def event(
    event_type: str,
    about: About,
    facts: Mapping[str, object],
    *,
    organization_id: int,
    trace: str | None = None,
    hops: str | None = None,
    now: datetime,
) -> NewEvent:
    """Return a system event about a webhook; without a ``trace``, it is part of that of the current request."""
    webhook = {"id": str(about.id), "name": about.name, "url": about.url}
    return NewEvent(
        organization_id=organization_id,
        repository_id=None,
        type=event_type,
        topics=system_topics(event_type),
        payload=compact_json.encode({"webhook": webhook, **facts}),
        occurred_at=now,
        trace=trace or trace_context.current(),
        hops=hops,
    )


def about_webhook(event_type: str, webhook: Webhook, facts: Mapping[str, object], *, now: datetime) -> NewEvent:
    """Return a system event about something that has happened to a webhook."""
    return event(event_type, About.of(webhook), facts, organization_id=webhook.organization_id, now=now)


def about_change(event_type: str, webhook: Webhook, facts: Mapping[str, object], *, now: datetime) -> NewEvent:
    """Return a system event about a change of a webhook, with its author."""
    # Without the address, which only the audit log has.
    author = audit.current_actor()
    actor = {"kind": author.kind, "id": author.id, "name": author.name}
    return about_webhook(event_type, webhook, {**facts, "actor": actor}, now=now)


def store_subscribed(events: Sequence[NewEvent], *, now: datetime) -> int:
    """Store those of the events that a webhook subscribes to, with their outbox entries; return how many.

    Call it in the transaction of the change that they are about, and ``committed`` after its COMMIT.
    """
    columns = {
        "ids": arrays.uuids(uuid7s(now, len(events))),
        "organizations": arrays.bigints(each.organization_id for each in events),
        "types": arrays.texts(each.type for each in events),
        "topics": arrays.texts(" ".join(each.topics) for each in events),
        "payloads": arrays.byteas(each.payload for each in events),
        "hops": arrays.texts(each.hops for each in events),
        "traces": arrays.texts(each.trace for each in events),
    }
    return sql.change(STORE_SUBSCRIBED, {**columns, "now": now})


def committed(count: int) -> None:
    """Wake a worker for so many new events, and count them; do nothing without any."""
    if count:
        wakeup.notify(wakeup.Work.EVENTS)
        telemetry.accepted(count)


def keys_of(event_type: str, organizations: Iterable[int]) -> arrays.Array:
    """Return the keys in the index webhook_by_topic of webhooks of the organizations that subscribe to a type."""
    topics = system_topics(event_type)
    return arrays.texts(f"{organization}//{topic}" for organization in organizations for topic in topics)


# Whether an active webhook subscribes, found by the index webhook_by_topic as by the fan-out, which decides exactly.
HAS_SUBSCRIBER = """
EXISTS (SELECT FROM hookhub_webhook s
        WHERE hookhub_webhook_keys(
                  s.organization_id, s.repository_id, s.events, s.deleted_at, s.ended_at, s.proof, s.verified_at
              ) COLLATE "C" && {keys} AND s.disabled_at IS NULL)
"""

STORE_SUBSCRIBED = f"""
WITH stored AS (
    INSERT INTO hookhub_event (id, organization_id, type, topics, payload, hops, trace, occurred_at, accepted_at)
    SELECT id, organization_id, type, string_to_array(topics, ' '), payload, hops, trace, %(now)s, %(now)s
    FROM unnest(%(ids)s::uuid[], %(organizations)s::bigint[], %(types)s::text[], %(topics)s::text[],
                %(payloads)s::bytea[], %(hops)s::text[], %(traces)s::text[])
         AS new (id, organization_id, type, topics, payload, hops, trace)
    WHERE {
    HAS_SUBSCRIBER.format(
        keys="ARRAY(SELECT new.organization_id::text || '//' || unnest(string_to_array(new.topics, ' ')))"
    ).strip()
}
    RETURNING id, organization_id
)
INSERT INTO hookhub_outbox (partition, event_id) SELECT -organization_id, id FROM stored
"""

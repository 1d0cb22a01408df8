"""Redelivery: send one delivery, many, or all that a filter selects again. Also cancellation, pings and test events."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet

from deliveries import audit, log_search, pipeline, wakeup
from deliveries.audit import Target
from deliveries.audited import webhook_target
from deliveries.db import arrays, sql
from deliveries.db.ids import first_id_at, uuid7
from deliveries.events import targeted_event
from deliveries.log_search import Counted, Log, LogFilter
from deliveries.models import Delivery, Organization, PollEntry, Webhook
from deliveries.pipeline import poll_queues
from deliveries.pipeline.filtering import Pairs

# Deliveries in the state "sending" are excluded, because an attempt is in progress.
REDELIVERABLE = ("delivered", "failed", "cancelled", "pending", "held")
CANCELLABLE = ("pending", "held")
# The columns of a delivery's webhook that ``blocked_reason`` reads.
BLOCKING = tuple(f"webhook__{name}" for name in ("disabled_at", "deleted_at", "ended_at", "proof", "verified_at"))
# The number of delivery ids that an audit entry lists; its count covers all of them.
MAX_DELIVERIES_LISTED = 20
# Rows of the log that are read to count what a selection has.
MAX_COUNTED = 100_000


class BlockedReason(StrEnum):
    """Why a delivery cannot be redelivered, worded to follow a count of deliveries."""

    SENDING = "being sent"
    WEBHOOK_DELETED = "of a deleted webhook"
    WEBHOOK_DISABLED = "of a disabled webhook"
    WEBHOOK_UNVERIFIED = "of an unverified webhook"
    WEBHOOK_ENDED = "of a webhook whose lease has ended"


def blocked_reason(delivery: Delivery) -> BlockedReason | None:
    """Return why ``redeliver`` skips a delivery, judged by the row and the webhook as loaded; None if it does not."""
    if delivery.state not in REDELIVERABLE:
        return BlockedReason.SENDING
    if delivery.webhook.deleted_at is not None:
        return BlockedReason.WEBHOOK_DELETED
    if delivery.webhook.disabled_at is not None:
        return BlockedReason.WEBHOOK_DISABLED
    if delivery.webhook.unverified:
        return BlockedReason.WEBHOOK_UNVERIFIED
    # Set by a maintenance task shortly after the end of the lease; ``make_due`` compares the end itself.
    if delivery.webhook.ended_at is not None:
        return BlockedReason.WEBHOOK_ENDED
    return None


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter for deliveries. A field that is None does not restrict it, and neither do empty ``states``.

    ``after`` (inclusive) and ``before`` (exclusive) bound the time at which a delivery was created.
    """

    organization_id: int
    webhook_id: int | None = None
    event_id: UUID | None = None
    repository_id: int | None = None
    states: tuple[str, ...] = ()
    event_type: str | None = None
    after: datetime | None = None
    before: datetime | None = None
    ids: tuple[UUID, ...] | None = None

    def deliveries(self) -> "QuerySet[Delivery]":
        """Return a queryset of the selected deliveries."""
        narrowed = {
            "event_id": self.event_id,
            "repository_id": self.repository_id,
            "event_type": self.event_type,
            "id__gte": first_id_at(self.after) if self.after else None,
            "id__lt": first_id_at(self.before) if self.before else None,
            "state__in": self.states or None,
            "id__in": self.ids,
        }
        rows = Delivery.objects.all() if self.webhook_id is None else Delivery.objects.of_webhook(self.webhook_id)
        return rows.filter(
            Q(organization_id=self.organization_id),
            **{name: value for name, value in narrowed.items() if value is not None},
        )


class Selected(NamedTuple):
    """Some of the deliveries that a selection has, and up to which id the log was read for them; None: to its end."""

    ids: list[UUID]
    upto: UUID | None


def selected_after(after: UUID | None, selection: Selection, *, most: int) -> Selected:
    """Return up to ``most`` selected deliveries with ids after ``after``, in their order, or fewer.

    A selection may have few of millions: of the log, no more is read than one search reads. Ids and those of an event
    are found by an index.
    """
    if selection.ids is not None or selection.event_id is not None:
        rows = selection.deliveries() if after is None else selection.deliveries().filter(id__gt=after)
        ids = list(rows.order_by("id").values_list("id", flat=True)[:most])
        return Selected(ids, ids[-1] if len(ids) == most else None)
    log_filter, log = _searched(selection)
    # The search knows neither several states nor repositories.
    is_exact = len(selection.states) <= 1 and selection.repository_id is None
    found = log_search.search(
        log_filter, log, most=most if is_exact else log_search.MAX_READ, start=after, to_newer=True
    )
    chosen = selection.deliveries().filter(id__in=found.ids).order_by("id").values_list("id", flat=True)
    ids = list(chosen[: most + 1])
    return Selected(ids, found.onward) if len(ids) <= most else Selected(ids[:most], ids[most - 1])


def count_selected(selection: Selection) -> Counted:
    """Return how many deliveries a selection has, of the first MAX_COUNTED rows of the log."""
    if selection.ids is not None or selection.event_id is not None:
        return Counted(selection.deliveries().count(), is_at_least=False)
    log_filter, log = _searched(selection)
    return log_search.count(
        log_filter, log, states=selection.states, repository_id=selection.repository_id, read=MAX_COUNTED
    )


def _searched(selection: Selection) -> tuple[LogFilter, Log]:
    """Return what a search can find a selection by, and the log that it is in."""
    log_filter = LogFilter(
        state=selection.states[0] if len(selection.states) == 1 else "",
        event_type=selection.event_type or "",
        after=selection.after,
        before=selection.before,
    )
    return log_filter, Log(selection.organization_id, None if selection.webhook_id is None else [selection.webhook_id])


def redeliver(deliveries: Iterable[UUID], *, now: datetime) -> int:
    """Make deliveries due now and restart their retry schedules. Return how many; skip those with a blocked_reason."""
    with transaction.atomic():
        ids = make_due(deliveries, now=now)
        _record("delivery.redelivered", ids, now=now)
    return len(ids)


def make_due(deliveries: Iterable[UUID], *, now: datetime) -> list[UUID]:
    """Do what ``redeliver`` does, without audit entries: for replays, which record their start. Return the ids."""
    due = Delivery.objects.filter(
        Q(webhook__expires_at=None) | Q(webhook__expires_at__gt=now),
        Q(webhook__proof=None) | Q(webhook__verified_at__isnull=False),
        id__in=list(deliveries),
        state__in=REDELIVERABLE,
        webhook__disabled_at=None,
        webhook__deleted_at=None,
    )
    with transaction.atomic():
        # The locking query repeats the condition on the state: after waiting for a row lock, PostgreSQL re-checks the
        # conditions on the locked row itself, but not those inside the subquery with the join.
        ids = list(
            Delivery.objects.select_for_update(of=("self",), no_key=True)
            .filter(id__in=due.values("id"), state__in=REDELIVERABLE)
            .order_by("id")
            .values_list("id", flat=True)
        )
        Delivery.objects.filter(id__in=ids).update(
            state="pending", readiness=Delivery.Readiness.READY_RETRY, due_at=now, finish_reason=None,
            finished_at=None, failures=0, lease_losses=0, first_attempt_at=None, redeliveries=F("redeliveries") + 1,
        )  # fmt: skip
        transaction.on_commit(wakeup.notify)
    return ids


def cancel(deliveries: Iterable[UUID], *, now: datetime) -> int:
    """Cancel pending and held deliveries and return how many. Deliveries that are being sent cannot be cancelled."""
    with transaction.atomic():
        waiting = Delivery.objects.filter(id__in=list(deliveries), state__in=CANCELLABLE)
        ids = list(waiting.in_order(most=sql.BATCH).values_list("id", flat=True))
        cancelled = Delivery.objects.filter(id__in=ids)
        cancelled.update(state="cancelled", finish_reason="cancelled", due_at=None, finished_at=now)
        _record("delivery.cancelled", ids, now=now)
    return len(ids)


def _record(action: str, deliveries: Sequence[UUID], *, now: datetime) -> None:
    """Write one audit entry per organization, not one per delivery: there may be thousands."""
    found: defaultdict[int, list[UUID]] = defaultdict(list)
    for delivery, organization_id in Delivery.objects.filter(id__in=deliveries).values_list("id", "organization_id"):
        found[organization_id].append(delivery)
    for organization in Organization.objects.filter(pk__in=found).order_by("pk"):
        ids = sorted(found[organization.pk])
        label = str(ids[0]) if len(ids) == 1 else f"{len(ids):,} deliveries"
        target = Target("delivery", str(ids[0]) if len(ids) == 1 else "", label, organization)
        after = {"count": len(ids), "deliveries": ids[:MAX_DELIVERIES_LISTED]}
        audit.record(action, target=target, after=after, now=now)


def ping(webhook: Webhook, *, data: object = None, now: datetime) -> Delivery:
    """Send a ping event to one active webhook, whatever it subscribes to. Return its delivery as ``send_to`` does.

    ``data`` is the payload; None means HookHub's default one.
    """
    return send_to(webhook, "ping", data_of_ping(webhook) if data is None else data, now=now)


def data_of_ping(webhook: Webhook) -> dict[str, object]:
    """Return HookHub's payload of a ping."""
    return {
        "message": "HookHub can reach this receiver.",
        "webhook": {"id": str(webhook.uid), "events": webhook.events},
    }


def send_to(webhook: Webhook, event_type: str, data: object, *, now: datetime) -> Delivery:
    """Publish an event for one active webhook only, whatever it subscribes to. Return its delivery.

    A polling webhook has no deliveries: the event is put into its queue, and what is returned stands for that, with the
    id under which the event is fetched. It is not stored.
    """
    event = targeted_event(
        webhook.pk,
        event_type,
        data,
        organization_id=webhook.organization_id,
        repository_id=webhook.repository_id,
        now=now,
    )
    with transaction.atomic():
        accepted = pipeline.accept([event], now=now)[0]
        delivery = Delivery(
            id=uuid7(now),
            event_id=accepted.id, webhook=webhook, organization_id=webhook.organization_id,
            repository_id=webhook.repository_id, event_type=event_type, due_at=now, created_at=now,
        )  # fmt: skip
        # Here instead of in the fan-out, because the caller needs it in the response.
        if webhook.is_polled:
            poll_queues.put(Pairs(arrays.uuids([accepted.id]), arrays.bigints([webhook.pk])))
            delivery.id, delivery.due_at = PollEntry.objects.get(event_id=accepted.id).pk, None
        else:
            Delivery.objects.bulk_create([delivery])
        action = "webhook.pinged" if event_type == "ping" else "webhook.test_sent"
        after = {"event": accepted.id, "type": event_type}
        audit.record(action, target=webhook_target(webhook), after=after, now=now)
    if webhook.is_polled:
        return delivery
    return Delivery.objects.select_related("webhook", "repository").get(event_id=accepted.id)

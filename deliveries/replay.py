"""Send again: one delivery, many, or all that a filter finds; and the opposite, to call a delivery off."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet

from deliveries import audit, doorbell, pipeline, queue, webhooks
from deliveries.audit import Target
from deliveries.audited import webhook_target
from deliveries.events import only_for
from deliveries.ids import first_id_at, uuid7
from deliveries.models import Delivery, Organization, Webhook

# Those being sent are under way already.
CAN_BE_SENT_AGAIN = ("delivered", "failed", "cancelled", "pending", "held")
CAN_BE_CALLED_OFF = ("pending", "held")
# Ids that an audit entry lists; it counts them all.
DELIVERIES_LISTED = 20


@dataclass(frozen=True, slots=True)
class Selection:
    """Which deliveries a replay is about; what is None does not narrow it down.

    ``after`` and ``before`` bound the moment a delivery was created, the first included and the second not.
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
        """Give the deliveries it selects."""
        narrowed = {
            "webhook_id": self.webhook_id,
            "event_id": self.event_id,
            "repository_id": self.repository_id,
            "event_type": self.event_type,
            "id__gte": first_id_at(self.after) if self.after else None,
            "id__lt": first_id_at(self.before) if self.before else None,
            "state__in": self.states or None,
            "id__in": self.ids,
        }
        return Delivery.objects.filter(
            Q(organization_id=self.organization_id),
            **{name: value for name, value in narrowed.items() if value is not None},
        )


def redeliver(deliveries: Iterable[UUID], *, now: datetime) -> int:
    """Make deliveries due at once, their schedule afresh; give how many.

    Left alone are those being sent at this moment, and those whose webhook is disabled or deleted.
    """
    with transaction.atomic():
        ids = make_due(deliveries, now=now)
        _record("delivery.redelivered", ids, now=now)
    return len(ids)


def make_due(deliveries: Iterable[UUID], *, now: datetime) -> list[UUID]:
    """Do what ``redeliver`` does for a replay, whose start is in the audit log; return the ids."""
    due = Delivery.objects.filter(
        id__in=list(deliveries),
        state__in=CAN_BE_SENT_AGAIN,
        webhook__disabled_at=None,
        webhook__deleted_at=None,
    )
    with transaction.atomic():
        # The ids are locked on the deliveries' own columns first; a filter over a join is not looked at again after
        # waiting for a lock.
        ids = list(
            Delivery.objects.select_for_update(of=("self",), no_key=True)
            .filter(id__in=due.values("id"), state__in=CAN_BE_SENT_AGAIN)
            .order_by("id")
            .values_list("id", flat=True)
        )
        Delivery.objects.filter(id__in=ids).update(
            state="pending", line=Delivery.Line.AGAIN, due_at=now, ending=None, finished_at=None, failures=0,
            lease_losses=0, first_attempt_at=None, redeliveries=F("redeliveries") + 1,
        )  # fmt: skip
        transaction.on_commit(doorbell.ring)
    return ids


def cancel(deliveries: Iterable[UUID], *, now: datetime) -> int:
    """Call off deliveries that wait or are held; give how many. What is being sent can no longer be called off."""
    with transaction.atomic():
        waiting = Delivery.objects.filter(id__in=list(deliveries), state__in=CAN_BE_CALLED_OFF)
        ids = list(waiting.in_order(most=queue.AT_ONCE).values_list("id", flat=True))
        cancelled = Delivery.objects.filter(id__in=ids)
        cancelled.update(state="cancelled", ending="cancelled", due_at=None, finished_at=now)
        _record("delivery.cancelled", ids, now=now)
    return len(ids)


def _record(action: str, deliveries: Sequence[UUID], *, now: datetime) -> None:
    """Write one audit entry for each organization: thousands may be sent again at once."""
    found: defaultdict[int, list[UUID]] = defaultdict(list)
    for delivery, organization_id in Delivery.objects.filter(id__in=deliveries).values_list("id", "organization_id"):
        found[organization_id].append(delivery)
    for organization in Organization.objects.filter(pk__in=found).order_by("pk"):
        ids = sorted(found[organization.pk])
        label = str(ids[0]) if len(ids) == 1 else f"{len(ids):,} deliveries"
        target = Target("delivery", str(ids[0]) if len(ids) == 1 else "", label, organization)
        after = {"count": len(ids), "deliveries": ids[:DELIVERIES_LISTED]}
        audit.record(action, target=target, after=after, now=now)


def enable(webhook_id: int, *, release_held: bool, now: datetime) -> tuple[Webhook, int]:
    """Enable a webhook, if asked with all that was held for it; give it and how many deliveries that released."""
    with transaction.atomic():
        webhook = Webhook.objects.kept().select_for_update(no_key=True).get(pk=webhook_id)
        released = webhooks.enable(webhook, release_held=release_held, now=now)
        transaction.on_commit(doorbell.ring)
    return webhook, released


def disable(webhook_id: int, *, now: datetime) -> tuple[Webhook, int]:
    """Disable a webhook on its owner's behalf; give it and how many deliveries are held now."""
    with transaction.atomic():
        webhook = Webhook.objects.kept().select_for_update(no_key=True).get(pk=webhook_id)
        held = webhooks.disable(webhook, reason=Webhook.DisabledReason.BY_OWNER, now=now) if webhook.active else 0
    return webhook, held


def ping(webhook: Webhook, *, data: object = None, now: datetime) -> Delivery:
    """Send a ping to one webhook, whatever it subscribes to; give its delivery. The webhook must be active.

    ``data`` is what it says, where a system's receivers expect something of their own.
    """
    if data is None:
        data = {"message": "HookHub can reach you.", "webhook": {"id": str(webhook.uid), "events": webhook.events}}
    return send_to(webhook, "ping", data, now=now)


def send_to(webhook: Webhook, event_type: str, data: object, *, now: datetime) -> Delivery:
    """Send one event to one webhook, whatever it subscribes to; give its delivery. The webhook must be active."""
    event = only_for(
        webhook.pk,
        event_type,
        data,
        organization_id=webhook.organization_id,
        repository_id=webhook.repository_id,
        now=now,
    )
    with transaction.atomic():
        accepted = pipeline.accept([event], now=now)[0]
        # Fanned out here and now, because whoever asked for it wants to watch this very delivery.
        Delivery.objects.bulk_create(
            [
                Delivery(
                    id=uuid7(now),
                    event_id=accepted.id, webhook=webhook, organization_id=webhook.organization_id,
                    repository_id=webhook.repository_id, event_type=event_type, due_at=now, created_at=now,
                )
            ]
        )  # fmt: skip
        action = "webhook.pinged" if event_type == "ping" else "webhook.test_sent"
        after = {"event": accepted.id, "type": event_type}
        audit.record(action, target=webhook_target(webhook), after=after, now=now)
    return Delivery.objects.select_related("webhook", "repository").get(event_id=accepted.id)

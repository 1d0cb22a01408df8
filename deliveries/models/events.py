"""Published events, and the outbox of those that are not fanned out yet."""

from typing import ClassVar

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce

from deliveries import timezone
from deliveries.models.arrays import ArrayField
from deliveries.models.ids import new_id
from deliveries.models.organizations import Organization, Repository
from deliveries.models.webhooks import Webhook


def is_pending() -> Exists:
    """Return the condition, for a query on Event, that the event has not been fanned out yet."""
    partition = Coalesce(OuterRef("repository_id"), -OuterRef("organization_id"))
    return Exists(OutboxEntry.objects.filter(partition=partition, event_id=OuterRef("pk")))


class Event(models.Model):
    """One published event; its payload is stored once, byte for byte."""

    # Event, delivery and attempt have no foreign-key constraints: checking them would lock webhook and organization
    # rows on every insert. `manage.py check_ledger` checks the references instead.
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, models.DO_NOTHING, db_constraint=False, db_index=False)
    repository = models.ForeignKey(Repository, models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    # Set on pings and test events: they go to this webhook only, whatever it subscribes to.
    webhook = models.ForeignKey(Webhook, models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    type = models.CharField(max_length=200)
    # Every topic that matches this event. A webhook gets it if its ``events`` array overlaps this one.
    topics = ArrayField(models.CharField(max_length=200))
    payload = models.BinaryField()
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(null=True)
    # The HookHub-Hops header of the request that published it; null unless a delivery caused that request.
    hops = models.TextField(null=True)
    # The trace of its publisher, as ``policy.trace_context`` reads it.
    trace = models.TextField(null=True)
    occurred_at = timezone.DateTimeField()
    accepted_at = timezone.DateTimeField()

    class Meta:
        db_table = "hookhub_event"
        indexes: ClassVar = [
            models.Index(fields=["organization", "-id"], name="event_log"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "idempotency_key"], name="event_idempotency_key_unique"),
            models.CheckConstraint(
                name="event_key_with_fingerprint",
                condition=Q(idempotency_key=None) | Q(fingerprint__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class OutboxEntry(models.Model):
    """The outbox: one row for each event that is not fanned out yet; the fan-out deletes it.

    A separate table, because a flag on the event would make PostgreSQL write a new copy of the row with its payload.
    """

    pk = models.CompositePrimaryKey("partition", "event_id")
    # The partition: the event's repository id or, without a repository, minus its organization id. The fan-out takes
    # events from the partitions in turn.
    partition = models.BigIntegerField()
    event = models.ForeignKey(Event, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")

    class Meta:
        db_table = "hookhub_outbox"

    def __str__(self) -> str:
        return str(self.event_id)

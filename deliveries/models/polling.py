"""The queues of polling webhooks, whose receivers fetch their events, and how far each consumer has read."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from deliveries import timezone
from deliveries.models.events import Event
from deliveries.models.ids import new_id
from deliveries.models.webhooks import Webhook


class PollQueue(models.Model):
    """The queue of a polling webhook: a lock for those that number its entries, and the last number given."""

    webhook = models.OneToOneField(
        Webhook, models.DO_NOTHING, db_constraint=False, primary_key=True, related_name="poll_queue"
    )
    last_position = models.BigIntegerField(default=0)

    class Meta:
        db_table = "hookhub_poll_queue"

    def __str__(self) -> str:
        return str(self.webhook_id)


class PollEntry(models.Model):
    """One event in the queue of one polling webhook.

    It gets its position when the queue is read. An event that is committed late thus comes after all that a consumer
    has read before, and not between them, where the consumer would never look.
    """

    # What a delivery's id is to a receiver: the same however often the event is fetched.
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    webhook = models.ForeignKey(Webhook, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    event = models.ForeignKey(Event, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    # From 1; null until it is first read. A gap stands for what was deleted, also before it was read.
    position = models.BigIntegerField(null=True)

    class Meta:
        db_table = "hookhub_poll_entry"
        indexes: ClassVar = [
            models.Index(fields=["webhook", "id"], name="poll_entry_unnumbered", condition=Q(position=None)),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event", "webhook"], name="poll_entry_once_per_event"),
            models.UniqueConstraint(
                fields=["webhook", "position"], name="poll_entry_position_unique", condition=Q(position__isnull=False)
            ),
            models.CheckConstraint(name="poll_entry_position_positive", condition=Q(position=None) | Q(position__gt=0)),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class PollConsumer(models.Model):
    """A program that reads the queue of a polling webhook, and the last position that it has committed."""

    webhook = models.ForeignKey(
        Webhook, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="poll_consumers"
    )
    name = models.CharField(max_length=100)
    position = models.BigIntegerField()
    created_at = timezone.DateTimeField(default=timezone.now, editable=False)
    committed_at = timezone.DateTimeField(editable=False)

    class Meta:
        db_table = "hookhub_poll_consumer"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["webhook", "name"], name="poll_consumer_name_unique"),
            models.CheckConstraint(name="poll_consumer_position_not_negative", condition=Q(position__gte=0)),
        ]

    def __str__(self) -> str:
        return self.name

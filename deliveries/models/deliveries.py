"""Deliveries of events to webhooks, and the attempts made for each."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from deliveries import timezone
from deliveries.models.events import Event
from deliveries.models.ids import new_id
from deliveries.models.logs import LogQuerySet
from deliveries.models.organizations import Organization, Repository
from deliveries.models.webhooks import Webhook


class DeliveryQuerySet(LogQuerySet["Delivery"]):
    def in_order(self, *, most: int, waits: bool = True) -> "DeliveryQuerySet":
        """Lock the first ``most`` deliveries by id and return a queryset of them. Call it in a transaction.

        Every statement that locks several deliveries does so in the order of their ids, which prevents deadlocks. A
        transaction with several such statements must not wait: what others have locked is left out.
        """
        # The lock must be a separate statement: as a subquery of an UPDATE, the planner may run it once per row, and
        # each run would lock the next few rows.
        locked = self.order_by("id").select_for_update(no_key=True, skip_locked=not waits)[:most]
        return Delivery.objects.filter(id__in=list(locked.values_list("id", flat=True)))


class Delivery(models.Model):
    """One event to be sent to one webhook. Receivers see its id, which is the same on every attempt."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENDING = "sending"
        DELIVERED = "delivered"
        FAILED = "failed"
        HELD = "held"
        CANCELLED = "cancelled"

    class Readiness(models.IntegerChoices):
        """Readiness of a pending delivery: scheduled, or ready in one of two queues, which the claim alternates."""

        SCHEDULED = 0, "scheduled"
        READY_FIRST = 1, "ready: first attempt"
        READY_RETRY = 2, "ready: retry, redelivery or release"

    class FinishReason(models.TextChoices):
        DELIVERED = "delivered", "delivered"
        EXHAUSTED = "exhausted", "retry schedule exhausted"
        GONE = "gone", "the receiver is gone"
        POISON = "poison", "poison message: its workers kept dying"
        CANCELLED = "cancelled", "cancelled"
        LEASE_EXPIRED = "lease_expired", "the webhook's lease has ended"

    FINISHED = (State.DELIVERED, State.FAILED, State.CANCELLED)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    event = models.ForeignKey(Event, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="deliveries")
    webhook = models.ForeignKey(
        Webhook, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="deliveries"
    )
    # Copied from the event, so that the delivery log is filtered without a join.
    organization = models.ForeignKey(Organization, models.DO_NOTHING, db_constraint=False, db_index=False)
    repository = models.ForeignKey(Repository, models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    event_type = models.CharField(max_length=200)

    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    finish_reason = models.CharField(max_length=20, choices=FinishReason, null=True)
    # Meaningful only while pending.
    readiness = models.PositiveSmallIntegerField(
        choices=Readiness, default=Readiness.READY_FIRST, db_default=Readiness.READY_FIRST
    )
    attempts_made = models.PositiveIntegerField(default=0)
    # Steps of the retry schedule used since it last started over. An attempt whose outcome is unknown uses none.
    failures = models.PositiveIntegerField(default=0)
    lease_losses = models.PositiveSmallIntegerField(default=0)
    redeliveries = models.PositiveIntegerField(default=0)
    first_attempt_at = timezone.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True)
    due_at = timezone.DateTimeField(null=True)
    lease = models.UUIDField(null=True)
    leased_at = timezone.DateTimeField(null=True)
    leased_until = timezone.DateTimeField(null=True)
    created_at = timezone.DateTimeField(default=timezone.now)
    finished_at = timezone.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        db_table = "hookhub_delivery"
        verbose_name_plural = "deliveries"
        indexes: ClassVar = [
            models.Index(
                fields=["webhook", "readiness", "due_at", "id"],
                name="delivery_ready",
                condition=Q(state="pending", readiness__gt=0),
            ),
            models.Index(fields=["due_at", "id"], name="delivery_scheduled", condition=Q(state="pending", readiness=0)),
            models.Index(
                fields=["webhook", "id"],
                name="delivery_scheduled_of_webhook",
                condition=Q(state="pending", readiness=0),
            ),
            models.Index(fields=["webhook", "leased_until"], name="delivery_leased", condition=Q(state="sending")),
            models.Index(fields=["webhook", "-id"], name="delivery_held", condition=Q(state="held")),
            models.Index(fields=["webhook", "-id"], name="delivery_failed_of_webhook", condition=Q(state="failed")),
            models.Index(
                fields=["state", "-id"], name="delivery_failed_or_held", condition=Q(state__in=("failed", "held"))
            ),
            models.Index(fields=["organization", "-id"], name="delivery_log"),
            models.Index(fields=["webhook", "-id"], name="delivery_log_of_webhook"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event", "webhook"], name="delivery_once_per_event_and_webhook"),
            models.CheckConstraint(
                name="delivery_state_known",
                condition=Q(state__in=("pending", "sending", "delivered", "failed", "held", "cancelled")),
            ),
            models.CheckConstraint(
                name="delivery_leased_while_sending",
                condition=Q(state="sending", lease__isnull=False, leased_at__isnull=False, leased_until__isnull=False)
                | (~Q(state="sending") & Q(lease=None, leased_at=None, leased_until=None)),
            ),
            models.CheckConstraint(
                name="delivery_due_while_pending", condition=~Q(state="pending") | Q(due_at__isnull=False)
            ),
            models.CheckConstraint(name="delivery_readiness_known", condition=Q(readiness__in=(0, 1, 2))),
            models.CheckConstraint(
                name="delivery_finished_with_reason",
                condition=Q(state__in=("delivered", "failed", "cancelled"))
                & Q(finished_at__isnull=False, finish_reason__isnull=False)
                | ~Q(state__in=("delivered", "failed", "cancelled")) & Q(finished_at=None, finish_reason=None),
            ),
            models.CheckConstraint(
                name="delivery_failures_are_attempts", condition=Q(failures__lte=F("attempts_made"))
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class AttemptQuerySet(LogQuerySet["Attempt"]):
    """Attempts."""


class Attempt(models.Model):
    """One HTTP request made for one delivery. Once the outcome is known, the row never changes."""

    class Outcome(models.TextChoices):
        DELIVERED = "delivered", "delivered"
        FAILED = "failed", "failed"
        GONE = "gone", "gone"
        NO_RESPONSE = "no_response", "no response"
        UNKNOWN = "unknown", "outcome unknown"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    delivery = models.ForeignKey(
        Delivery, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="attempts"
    )
    webhook = models.ForeignKey(Webhook, models.DO_NOTHING, db_constraint=False, db_index=False)
    number = models.PositiveIntegerField()
    started_at = timezone.DateTimeField()
    duration = models.DurationField(null=True)
    url = models.TextField()
    # "Name: value" lines; the values of the webhook's custom headers are masked. Response headers are as received.
    request_headers = models.TextField()
    outcome = models.CharField(max_length=20, choices=Outcome)
    status = models.PositiveSmallIntegerField(null=True)
    response_headers = models.TextField()
    response_body = models.BinaryField()
    error = models.TextField()
    # What exactly went wrong, one of ``policy.outcomes.CAUSES``, if there was no response and it is known.
    cause = models.CharField(max_length=30, null=True)
    # How long the phases of the request took, in microseconds; null if not needed, or not completed.
    dns_us = models.IntegerField(null=True)
    connect_us = models.IntegerField(null=True)
    tls_us = models.IntegerField(null=True)
    first_byte_us = models.IntegerField(null=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        db_table = "hookhub_attempt"
        indexes: ClassVar = [models.Index(fields=["webhook", "-id"], name="attempt_log_of_webhook")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_once_per_number"),
            models.CheckConstraint(name="attempt_number_from_one", condition=Q(number__gte=1)),
            models.CheckConstraint(
                name="attempt_outcome_known",
                condition=Q(outcome__in=("delivered", "failed", "gone", "no_response", "unknown")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} #{self.number}"

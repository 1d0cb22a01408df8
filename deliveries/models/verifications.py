"""Verifications: exchanges in which a webhook's URL proves that its receiver wants the requests."""

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models import Q

from deliveries import proofs, timezone
from deliveries.models.ids import new_id
from deliveries.models.webhooks import Webhook


class VerificationQuerySet(models.QuerySet["Verification"]):
    def open(self) -> "VerificationQuerySet":
        """Return the verifications that are not concluded."""
        return self.filter(state__in=Verification.OPEN)

    def supersede(self, *, now: datetime) -> int:
        """Close those of the verifications that are open, so that no result of theirs counts; return how many.

        A request in flight keeps its lease until it has ended, so that no other is sent to its host meanwhile.
        """
        return self.open().update(
            state=Verification.State.SUPERSEDED, finished_at=now, sealed_change=None, challenge=None, due_at=None
        )


class Verification(models.Model):
    """A request, repeated on a short schedule, to which a webhook's URL must answer before something takes effect."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENDING = "sending"
        VERIFIED = "verified"
        FAILED = "failed"
        SUPERSEDED = "superseded"

    class Mode(models.TextChoices):
        """What the proof leads to: the webhook gets its events as changed, or it is deleted.

        A denial asks for nothing: it tells a subscriber that it has no webhook, or has none any more.
        """

        SUBSCRIBE = "subscribe"
        UNSUBSCRIBE = "unsubscribe"
        DENIED = "denied"

    OPEN = (State.PENDING, State.SENDING)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Null for a denial.
    webhook = models.ForeignKey(
        Webhook, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="verifications"
    )
    proof = models.CharField(max_length=20, choices=proofs.choices)
    mode = models.CharField(max_length=12, choices=Mode, default=Mode.SUBSCRIBE)
    # What the proof's request carries besides the challenge, such as the topic of a hub.
    details = models.JSONField(default=dict)
    # The host of the URL to verify: no two requests to one host are in flight at a time.
    host = models.CharField(max_length=255)
    # The URL as it may be shown.
    stored_url = models.CharField("URL", max_length=2048, db_column="url")
    # The fields that the webhook gets once the URL is verified, encrypted; null if there are none or it is over.
    sealed_change = models.BinaryField(null=True)
    # How long the webhook lasts from the proof on; null leaves its end as it is.
    lasts = models.DurationField(null=True)
    # What the receiver must echo, another for each request; null while none is in flight.
    challenge = models.CharField(max_length=64, null=True)

    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts_made = models.PositiveSmallIntegerField(default=0)
    # Steps of the schedule used. A request whose outcome is unknown uses none.
    failures = models.PositiveSmallIntegerField(default=0)
    due_at = timezone.DateTimeField(null=True)
    lease = models.UUIDField(null=True)
    leased_until = timezone.DateTimeField(null=True)
    created_at = timezone.DateTimeField(default=timezone.now)
    finished_at = timezone.DateTimeField(null=True)
    # How long after it has failed a webhook that was never verified is deleted, and when that is due.
    kept_for = models.DurationField()
    forget_at = timezone.DateTimeField(null=True)

    # Its latest requests, oldest first, as ``verification_log`` writes them; at most MAX_KEPT.
    requests = models.JSONField(default=list)
    # The last request whose outcome is known.
    last_started_at = timezone.DateTimeField(null=True)
    last_duration = models.DurationField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True)
    last_excerpt = models.TextField(blank=True)
    last_error = models.TextField(blank=True)
    # The kind of policy.outcomes.NoResponse if there was no response.
    last_failure = models.CharField(max_length=20, blank=True)

    objects = VerificationQuerySet.as_manager()

    class Meta:
        db_table = "hookhub_verification"
        indexes: ClassVar = [
            models.Index(
                fields=["host", "due_at"], name="verification_due", condition=Q(state="pending") & ~Q(proof="websub")
            ),
            models.Index(
                fields=["host", "due_at"], name="verification_due_of_hub", condition=Q(state="pending", proof="websub")
            ),
            models.Index(fields=["leased_until"], name="verification_leased", condition=Q(lease__isnull=False)),
            models.Index(fields=["webhook", "-id"], name="verification_log_of_webhook"),
            models.Index(fields=["forget_at"], name="verification_to_forget", condition=Q(forget_at__isnull=False)),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["host"], name="verification_once_per_host", condition=Q(lease__isnull=False)
            ),
            models.UniqueConstraint(
                fields=["webhook"], name="verification_once_per_webhook", condition=Q(state__in=("pending", "sending"))
            ),
            models.CheckConstraint(
                name="verification_of_webhook",
                condition=Q(mode="denied", webhook=None) | (~Q(mode="denied") & Q(webhook__isnull=False)),
            ),
            models.CheckConstraint(
                name="verification_state_known",
                condition=Q(state__in=("pending", "sending", "verified", "failed", "superseded")),
            ),
            models.CheckConstraint(
                name="verification_leased_while_sending",
                condition=Q(state="sending", lease__isnull=False, leased_until__isnull=False, challenge__isnull=False)
                | Q(state="superseded", lease__isnull=False, leased_until__isnull=False, challenge=None)
                | (~Q(state="sending") & Q(lease=None, leased_until=None, challenge=None)),
            ),
            models.CheckConstraint(
                name="verification_due_while_pending",
                condition=Q(state="pending", due_at__isnull=False) | (~Q(state="pending") & Q(due_at=None)),
            ),
            models.CheckConstraint(
                name="verification_change_while_open",
                condition=Q(state__in=("pending", "sending"), finished_at=None)
                | (~Q(state__in=("pending", "sending")) & Q(finished_at__isnull=False, sealed_change=None)),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

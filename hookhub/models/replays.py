"""Replays."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from deliveries import timezone
from deliveries.models import Organization, new_id


class Replay(models.Model):
    """A request to deliver many events again, or for the first time, in batches; its counters are its progress.

    ``kind`` says what it goes through. To redeliver: deliveries. For what is missing: the events of a period, of which
    it delivers those that a webhook never got; ``redelivered`` then counts these.
    """

    class Kind(models.TextChoices):
        REDELIVERY = "redelivery"
        MISSING = "missing"

    class State(models.TextChoices):
        RUNNING = "running"
        FINISHED = "finished"
        CANCELLED = "cancelled"

    class CancelReason(models.TextChoices):
        """Why it was cancelled: by a request, or because its webhook no longer gets events."""

        REQUESTED = "requested", "on request"
        WEBHOOK_DELETED = "webhook_deleted", "its webhook was deleted"
        WEBHOOK_DISABLED = "webhook_disabled", "its webhook was disabled"
        WEBHOOK_UNVERIFIED = "webhook_unverified", "its webhook is unverified"
        WEBHOOK_ENDED = "webhook_ended", "the lease of its webhook has ended"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="replays")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.REDELIVERY)
    # The filter as the caller wrote it, for display, and as the engine needs it to find the next batch.
    asked = models.JSONField()
    selection = models.JSONField()
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    cancel_reason = models.CharField(max_length=20, choices=CancelReason, null=True)
    total = models.PositiveIntegerField()
    # Whether counting beforehand stopped at its limit, so that there may be more than ``total``.
    total_is_at_least = models.BooleanField(default=False)
    examined = models.PositiveIntegerField(default=0)
    redelivered = models.PositiveIntegerField(default=0)
    # Every delivery or event up to and including this id has been processed.
    done_upto = models.UUIDField(null=True)
    # What was created after the replay is excluded, or it might never end.
    upto = models.UUIDField()
    created_at = timezone.DateTimeField(default=timezone.now, editable=False)
    # Replays take turns, least recently touched first: one organization's million deliveries must not delay others.
    touched_at = timezone.DateTimeField(default=timezone.now)
    finished_at = timezone.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["touched_at"], name="replay_running", condition=Q(state="running"))]

    def __str__(self) -> str:
        return f"{self.state} {self.examined}/{self.total}{'+' if self.total_is_at_least else ''}"

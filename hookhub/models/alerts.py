"""Channels by which an organization is told about its webhooks, and the alerts sent to them."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from deliveries import audit, timezone, vault
from deliveries.models import Organization, Repository, Webhook, new_id
from deliveries.models.arrays import ArrayField
from deliveries.policy.incidents import LEVELS


class AlertKind(models.TextChoices):
    """What an alert is about; a channel gets those that it was created for, and tests."""

    FAILING = "failing", "a webhook keeps failing"
    DISABLED = "disabled", "a webhook was disabled"
    RECOVERED = "recovered", "a webhook works again"
    LEASE_ENDING = "lease_ending", "a webhook ends soon"
    TEST = "test", "a test"


# The kinds that a channel can be created for.
KINDS = tuple(kind.value for kind in AlertKind if kind is not AlertKind.TEST)


class AlertChannel(models.Model):
    """A way to tell people about webhooks. With a queue of its own: what hangs here delays no other channel."""

    class Type(models.TextChoices):
        EMAIL = "email", "e-mail"
        SLACK = "slack", "Slack"
        TEAMS = "teams", "Microsoft Teams"
        WEBHOOK = "webhook", "webhook"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="alert_channels")
    # Only about the webhooks of this repository; null for all.
    repository = models.ForeignKey(Repository, models.CASCADE, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=200, blank=True)
    type = models.CharField(max_length=10, choices=Type)
    kinds = ArrayField(models.CharField(max_length=20))
    # Of the warnings, only those from this percentage on.
    from_percent = models.PositiveSmallIntegerField(default=LEVELS[0])
    # Addresses of e-mail; empty for the owners of the organization.
    recipients = ArrayField(models.CharField(max_length=254), default=list, blank=True)
    # The URL with its secret parts masked; sealed, the URL itself, and the secret that signs.
    stored_url = models.CharField("URL", max_length=2048, blank=True)
    sealed_url = models.BinaryField(null=True, editable=False)
    sealed_secret = models.BinaryField(null=True, editable=False)
    paused_at = timezone.DateTimeField(null=True, editable=False)
    created_at = timezone.DateTimeField(default=timezone.now, editable=False)
    changed_at = timezone.DateTimeField(default=timezone.now, editable=False)
    # When its next alert is to be sent, or, while one is being sent, until when that may take; null if there is none.
    due_at = timezone.DateTimeField(null=True, editable=False)
    last_sent_at = timezone.DateTimeField(null=True, editable=False)
    # Since when nothing could be sent, and why; null and empty after a success.
    failing_since = timezone.DateTimeField(null=True, editable=False)
    last_error = models.CharField(max_length=500, blank=True, editable=False)

    class Meta:
        db_table = "hookhub_alert_channel"
        verbose_name = "alert channel"
        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="alert_channel_due", condition=Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name or self.get_type_display()

    @property
    def url(self) -> str:
        """Return the full URL. Raise vault.Unreadable if it cannot be decrypted."""
        return self.stored_url if self.sealed_url is None else vault.open_url(self.sealed_url, of=self.id)

    def as_target(self) -> audit.Target:
        """Return the channel as an audit target."""
        return audit.Target("alert_channel", str(self.pk), str(self), self.organization)

    def as_state(self) -> audit.State:
        """Return the fields that the audit log shows of the channel."""
        return {
            **audit.state_of(self, "name", "type", "kinds", "from_percent", "recipients"),
            "repository": None if self.repository is None else self.repository.name,
            "url": audit.Masked(None if self.sealed_url is None else bytes(self.sealed_url), shown=self.stored_url),
            "enabled": self.paused_at is None,
        }


class Alert(models.Model):
    """What one channel, or the owners of an organization, are told about a webhook, once; it is also the record."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed"
        SUPERSEDED = "superseded"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, db_index=False, related_name="alerts")
    # Null for a test. Without a constraint, like all references to webhooks that retention deletes in batches.
    webhook = models.ForeignKey(Webhook, models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    # Null for an e-mail to the owners without a channel. The id stays after the channel was deleted.
    channel = models.ForeignKey(
        AlertChannel, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="alerts"
    )
    channel_type = models.CharField(max_length=10)
    channel_name = models.CharField(max_length=200)
    kind = models.CharField(max_length=20, choices=AlertKind)
    percent = models.PositiveSmallIntegerField(null=True)
    # The beginning of the incident, the time of the disabling, or the end of the lease: it is told of each once.
    about = timezone.DateTimeField(null=True)
    # The facts told, as in the system event.
    details = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    # For e-mails to owners; a channel has a time of its own.
    due_at = timezone.DateTimeField(null=True)
    created_at = timezone.DateTimeField(default=timezone.now)
    finished_at = timezone.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)

    # The ``channel_type`` of an e-mail to the owners without a channel.
    OWNERS = "owners"

    class Meta:
        db_table = "hookhub_alert"
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(fields=["organization", "-id"], name="alert_of_organization"),
            models.Index(fields=["webhook", "-id"], name="alert_of_webhook"),
            models.Index(fields=["channel", "-id"], name="alert_of_channel"),
            models.Index(fields=["channel", "id"], name="alert_pending", condition=Q(state="pending")),
            models.Index(fields=["due_at"], name="alert_to_owners", condition=Q(state="pending", channel=None)),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["webhook", "channel", "kind", "percent", "about"],
                name="alert_once",
                condition=Q(webhook__isnull=False),
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="alert_finished",
                condition=Q(state="pending", finished_at=None)
                | ~Q(state="pending") & Q(finished_at__isnull=False, due_at=None),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.state}"

"""Statistics by hour, which outlive a glance at the latest attempts."""

from typing import ClassVar

from django.db import models

from deliveries import timezone
from deliveries.models.arrays import ArrayField


class HourlyStats(models.Model):
    """What became of the attempts that ended in an hour: of a webhook, of a repository, of an organization, or of all.

    ``latencies`` is the histogram of ``policy.latencies``, of the attempts with a response.
    """

    ALL_WEBHOOKS = ALL_ORGANIZATIONS = 0

    pk = models.CompositePrimaryKey("organization_id", "webhook_id", "hour")
    # 0 is the row of all. ``webhook_id`` is negative in the row of all webhooks of a repository.
    organization_id = models.BigIntegerField()
    webhook_id = models.BigIntegerField()
    hour = timezone.DateTimeField()
    delivered = models.BigIntegerField()
    redirects = models.BigIntegerField()
    client_errors = models.BigIntegerField()
    server_errors = models.BigIntegerField()
    timeouts = models.BigIntegerField()
    unreachable = models.BigIntegerField()
    tls_errors = models.BigIntegerField()
    blocked = models.BigIntegerField()
    other = models.BigIntegerField()
    latencies = ArrayField(models.IntegerField())

    class Meta:
        db_table = "hookhub_hourly_stats"
        default_permissions = ()
        verbose_name_plural = "hourly stats"
        indexes: ClassVar = [models.Index(fields=["hour"], name="hourly_stats_hour")]

    def __str__(self) -> str:
        return f"{self.webhook_id or 'all webhooks'} at {self.hour:%Y-%m-%dT%H}"

    @staticmethod
    def all_of_repository(repository_id: int) -> int:
        """Return the ``webhook_id`` of the rows of all webhooks of a repository."""
        return -repository_id


class StatsProgress(models.Model):
    """Up to which attempt the hours have been counted; one row."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    # The least id of an attempt that has not been counted.
    next_attempt = models.UUIDField()

    class Meta:
        db_table = "hookhub_stats_progress"
        default_permissions = ()
        constraints: ClassVar = [models.CheckConstraint(name="stats_progress_is_one_row", condition=models.Q(id=1))]

    def __str__(self) -> str:
        return f"counted up to {self.next_attempt}"

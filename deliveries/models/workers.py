"""The heartbeats of workers, and which of them does the periodic work."""

from django.db import models

from deliveries import timezone


class Worker(models.Model):
    """The heartbeat of one worker process. Only ``deliveries.workers`` writes this table."""

    # The prefix of the worker's lease tokens.
    id = models.CharField(primary_key=True, max_length=16)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = timezone.DateTimeField()
    seen_at = timezone.DateTimeField()
    # Set on a clean shutdown.
    stopped_at = timezone.DateTimeField(null=True)

    class Meta:
        db_table = "hookhub_worker"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Leader(models.Model):
    """The worker that does one kind of periodic work. Only ``deliveries.worker.leadership`` writes this table."""

    work = models.CharField(primary_key=True, max_length=30)
    worker_id = models.CharField(max_length=16)
    ends_at = timezone.DateTimeField()

    class Meta:
        db_table = "hookhub_leader"
        default_permissions = ()

    def __str__(self) -> str:
        return self.work

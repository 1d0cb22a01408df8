"""The models: columns, indexes, querysets, and the invariants that the database enforces as constraints."""

# Django lists models in the order of these imports.
# isort: skip_file
from deliveries.models.ids import new_id
from deliveries.models.logs import LogQuerySet
from deliveries.models.organizations import NAME, Organization, Repository
from deliveries.models.webhook_schema import HOST_OF
from deliveries.models.webhooks import Webhook
from deliveries.models.verifications import Verification
from deliveries.models.events import Event, OutboxEntry, is_pending
from deliveries.models.deliveries import Attempt, Delivery, DeliveryQuerySet
from deliveries.models.polling import PollConsumer, PollEntry, PollQueue
from deliveries.models.statistics import HourlyStats, StatsProgress
from deliveries.models.audit import AuditEntry
from deliveries.models.workers import Leader, Worker

__all__ = [
    "HOST_OF", "NAME", "Attempt", "AuditEntry", "Delivery", "DeliveryQuerySet", "Event", "HourlyStats", "Leader",
    "LogQuerySet", "Organization", "OutboxEntry", "PollConsumer", "PollEntry", "PollQueue", "Repository",
    "StatsProgress", "Verification", "Webhook", "Worker", "is_pending", "new_id",
]  # fmt: skip

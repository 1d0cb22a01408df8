"""``manage.py prune``: delete expired deliveries and events now, instead of gradually by retention."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.template.defaultfilters import pluralize

from deliveries import audit, timezone
from deliveries.audit import Target
from deliveries.db import sql
from deliveries.db.ids import first_id_at
from deliveries.maintenance.retention import Pruned, PrunePass
from deliveries.models import Delivery, Event, is_pending


class Command(BaseCommand):
    """Delete expired rows in batches that are small enough not to delay the queue."""

    help = (
        "Delete expired finished deliveries with their attempts, and expired events without deliveries. Workers do "
        "this continuously; use this command to do it now, or with a shorter retention. Unfinished deliveries are "
        "never deleted."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options for the age limit and for a dry run."""
        parser.add_argument(
            "--older-than", type=int, metavar="DAYS", help="delete everything older than DAYS [HOOKHUB_RETENTION_DAYS]"
        )
        parser.add_argument("--dry-run", action="store_true", help="only print what would be deleted")

    @audit.by_command("prune")
    def handle(self, *_: Any, **options: Any) -> None:
        """Report what will be deleted and delete it."""
        horizon = timezone.now() - retention_of(options["older_than"])
        deliveries, events = count_old(horizon)
        what = (
            f"{deliveries:,} deliver{pluralize(deliveries, 'y,ies')} with all attempts "
            f"and {events:,} event{pluralize(events)}"
        )
        until = f"created before {horizon:%Y-%m-%d %H:%M} UTC"
        if options["dry_run"]:
            self.stdout.write(f"Would delete {what}, {until}.")
            return
        self.stdout.write(f"Deleting {what}, {until}.")
        record(horizon, deliveries=deliveries, events=events)
        done = self._prune(PrunePass(horizon), expected=deliveries + events)
        self.stdout.write(self.style.SUCCESS(f"Deleted {done:,} deliveries and events."))

    def _prune(self, prune_pass: PrunePass, *, expected: int) -> int:
        """Delete all expired rows, report progress at each percent, and return how many were deleted."""
        done, shown = Pruned(), 0
        while not prune_pass.is_over:
            done.add(prune_pass.prune_batch())
            # Meanwhile, the workers' retention may have deleted some of them, and more may have expired.
            total = max(done.rows, expected)
            if total and 100 * done.rows // total > shown:
                shown = 100 * done.rows // total
                self.stdout.write(f"{done.rows:,} of {total:,} deleted")
                self.stdout.flush()
        return done.rows


def record(horizon: datetime, *, deliveries: int, events: int) -> None:
    """Write the audit entry before the first batch, so that it exists even if the process dies halfway."""
    after = {"before": horizon, "deliveries": deliveries, "events": events}
    with transaction.atomic():
        target = Target("delivery_log", "", "delivery log", None)
        audit.record("delivery_log.pruned", target=target, after=after, now=timezone.now())


def retention_of(days: int | None) -> timedelta:
    """Return how long rows are kept: ``days``, or HOOKHUB_RETENTION. Raise CommandError if ``days`` is out of range."""
    if days is None:
        retention: timedelta = settings.HOOKHUB_RETENTION
        return retention
    # A worker may still record an attempt up to a day later.
    if not 1 <= days <= 3650:
        raise CommandError(f"--older-than: {days} is invalid; use an integer from 1 to 3650.")
    return timedelta(days=days)


def count_old(horizon: datetime) -> tuple[int, int]:
    """Return how many deliveries and events have expired, counted without a statement timeout."""
    goes = Q(id__lt=first_id_at(horizon), finished_at__lt=horizon)
    stays = Delivery.objects.filter(~goes, event_id=OuterRef("pk"))
    events = Event.objects.filter(~Exists(stays), ~is_pending(), id__lt=first_id_at(horizon))
    with transaction.atomic():
        sql.run(sql.ALLOW_ANY_TIME, {})
        return Delivery.objects.filter(goes).count(), events.count()

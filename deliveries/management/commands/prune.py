"""``manage.py prune``: deletes at once what retention would delete bit by bit."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from deliveries import audit, queue
from deliveries.audit import Target
from deliveries.ids import first_id_at
from deliveries.models import Delivery, Event, is_waiting
from deliveries.retention import Forgotten, Round


class Command(BaseCommand):
    """Forget what is old, in batches small enough not to hold up the queue."""

    help = (
        "Delete finished deliveries with their attempts, and events without deliveries, that are past retention. "
        "Workers do so by themselves; this does it now, or for a shorter past. Undelivered ones are never deleted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare how old is old."""
        parser.add_argument(
            "--older-than", type=int, metavar="DAYS", help="keep only the last DAYS [HOOKHUB_RETENTION_DAYS]"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be deleted, and delete nothing")

    @audit.by_command("prune")
    def handle(self, *_: Any, **options: Any) -> None:
        """Say what is to go, and let it go."""
        horizon = timezone.now() - retention_of(options["older_than"])
        deliveries, events = count_old(horizon)
        what = f"{deliveries:,} deliveries with their attempts and {events:,} events"
        until = f"from before {horizon:%Y-%m-%d %H:%M} UTC"
        if options["dry_run"]:
            self.stdout.write(f"Would delete {what}, {until}.")
            return
        self.stdout.write(f"Deleting {what}, {until}.")
        record(horizon, deliveries=deliveries, events=events)
        done = self._forget(Round(horizon), expected=deliveries + events)
        self.stdout.write(self.style.SUCCESS(f"Deleted {done:,} deliveries and events."))

    def _forget(self, everything: Round, *, expected: int) -> int:
        """Go through all that is old, and say so at every hundredth; give how many deliveries and events went."""
        done, shown = Forgotten(), 0
        while not everything.is_over:
            done.add(everything.forget_a_batch())
            # The workers' own retention may have taken some of them meanwhile, and more may have become old enough.
            total = max(done.rows, expected)
            if total and 100 * done.rows // total > shown:
                shown = 100 * done.rows // total
                self.stdout.write(f"{done.rows:,} of {total:,} gone")
                self.stdout.flush()
        return done.rows


def record(horizon: datetime, *, deliveries: int, events: int) -> None:
    """Record what is about to be deleted, before the first batch: if this process dies, some of it is gone."""
    after = {"before": horizon, "deliveries": deliveries, "events": events}
    with transaction.atomic():
        target = Target("delivery_log", "", "delivery log", None)
        audit.record("delivery_log.pruned", target=target, after=after, now=timezone.now())


def retention_of(days: int | None) -> timedelta:
    """Give how much of the past is kept; raises CommandError when that is too little or too much."""
    if days is None:
        retention: timedelta = settings.HOOKHUB_RETENTION
        return retention
    # Within a day a worker may still come back to write down an attempt.
    if not 1 <= days <= 3650:
        raise CommandError(f"--older-than: {days} will not do; give a whole number of days from 1 to 3650.")
    return timedelta(days=days)


def count_old(horizon: datetime) -> tuple[int, int]:
    """Count the deliveries and events that will go, for as long as that takes."""
    goes = Q(id__lt=first_id_at(horizon), finished_at__lt=horizon)
    stays = Delivery.objects.filter(~goes, event_id=OuterRef("pk"))
    events = Event.objects.filter(~Exists(stays), ~is_waiting(), id__lt=first_id_at(horizon))
    with transaction.atomic():
        queue.run("SET LOCAL statement_timeout = 0", {})
        return Delivery.objects.filter(goes).count(), events.count()

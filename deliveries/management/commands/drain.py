"""`manage.py drain`: run the pipeline without Celery until nothing is due."""

import signal
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand

from deliveries import leases, stopping
from deliveries.drain import drain_once
from deliveries.queue import go_by_indexes


class Command(BaseCommand):
    help = "Deliver what is due, in this process and without Celery or Redis, until nothing is due any more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quiet", action="store_true", help="say nothing when done")
        parser.add_argument(
            "--for-worker",
            nargs=2,
            metavar=("PID", "NUMBER"),
            help="for a worker's own: stop when that process is gone; it takes back what is left in hand",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        if options["for_worker"]:
            pid, number = options["for_worker"]
            leases.work_for(number)
            stopping.stop_without_parent(int(pid))
        # A handler that raised could do so in the middle of a COMMIT, so it only leaves word.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set_stopping())
        go_by_indexes()
        done = drain_once(timedelta(days=1))
        if not options["quiet"]:
            self.stdout.write(f"{done.events} events fanned out, {done.attempts} attempts made.")

"""``manage.py drain``: run the delivery pipeline in this process, without Celery, until nothing is due."""

import signal
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.template.defaultfilters import pluralize

from deliveries import shutdown
from deliveries.db.sql import prefer_indexes
from deliveries.worker.loop import run_until_idle


class Command(BaseCommand):
    help = "Deliver everything that is due, in this process and without Celery or Redis, and exit."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quiet", action="store_true", help="print no summary")

    def handle(self, *args: Any, **options: Any) -> None:
        # The handler only sets a flag, because an exception could be raised in the middle of a COMMIT.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: shutdown.request())
        prefer_indexes()
        progress = run_until_idle(timedelta(days=1))
        if not options["quiet"]:
            events = f"{progress.events} event{pluralize(progress.events)} fanned out"
            self.stdout.write(f"{events}, {progress.attempts} attempt{pluralize(progress.attempts)} made.")

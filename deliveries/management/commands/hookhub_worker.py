"""``manage.py hookhub_worker``: deliver with processes of its own, without Celery, until SIGTERM."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connections

from deliveries.worker.processes import Supervisor


class Command(BaseCommand):
    help = "Deliver with processes of its own, without Celery and with or without Redis. SIGTERM lets it finish."
    # They import all views, which a worker does not need; `manage.py check` runs them.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--processes", type=int, default=settings.HOOKHUB_WORKER_PROCESSES,
            help=f"processes that send [{settings.HOOKHUB_WORKER_PROCESSES}]",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        # The processes are forked, and must not share a connection.
        connections.close_all()
        sys.exit(Supervisor(processes=max(1, options["processes"])).run())

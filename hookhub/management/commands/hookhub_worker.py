"""``manage.py hookhub_worker``: deliver with processes of its own, without Celery, until SIGTERM."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any, Literal

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connections
from django.utils.module_loading import import_string

from deliveries.worker.processes import Extras, Service, Supervisor

# By name, as where Celery runs them: what is off is not imported.
TELEMETRY = "hookhub.telemetry.starting"
STREAM = "hookhub.publishing.redis_stream.thread.StreamThread"


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
        import_string(f"{TELEMETRY}.require_packages")()
        # The processes are forked, and must not share a connection.
        connections.close_all()
        extras = Extras(begin=begin, end=import_string(f"{TELEMETRY}.stop"), services=services)
        sys.exit(Supervisor(processes=max(1, options["processes"]), extras=extras).run())


def begin(role: Literal["scheduler", "worker"]) -> None:
    """Start metrics and the like in a process; one of the schedulers of this machine serves them."""
    import_string(f"{TELEMETRY}.start")(role, serves=role == "scheduler")


def services() -> Sequence[Service]:
    """Return what reads the stream, if there is one."""
    if not (settings.HOOKHUB_STREAM and settings.REDIS_URL):
        return ()
    return (import_string(STREAM)(),)

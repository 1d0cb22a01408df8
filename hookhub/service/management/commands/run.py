"""``manage.py run web`` and ``manage.py run worker``: replaces this process by one process of the Procfile."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from hookhub import procfile


class Command(BaseCommand):
    help = "Replace this process by one process of the Procfile, for service managers and containers."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("process", choices=sorted(procfile.commands()))

    def handle(self, *args: Any, **options: Any) -> None:
        os.chdir(procfile.ROOT)
        os.execve("/bin/sh", ["sh", "-c", procfile.commands()[options["process"]]], dict(procfile.environment()))  # noqa: S606 - our own Procfile

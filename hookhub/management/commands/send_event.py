"""``manage.py send_event``: publishes one event through the HTTP API, like any other client."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hookhub.client import Client, HookHubError
from hookhub.management import secret_files


class Command(BaseCommand):
    """Publish one event and print its id."""

    help = "Publish one event through the API and print its id."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("type", help="the event type, for example push")
        parser.add_argument("--data", default="{}", help="the event's data: JSON, @FILE, or - for standard input [{}]")
        parser.add_argument("--repository", help="the repository: NAME or OWNER/NAME")
        parser.add_argument("--organization", help="the organization's slug, only with an operator key")
        parser.add_argument(
            "--id", help="the idempotency key: an id that was used before publishes nothing new [generated]"
        )
        parser.add_argument("--url", default=os.environ.get("HOOKHUB_URL"), help="HookHub's URL [HOOKHUB_URL]")
        parser.add_argument("--api-key-file", metavar="FILE", help="a file with the API key, - for standard input")
        parser.add_argument(
            "--api-key",
            default=os.environ.get("HOOKHUB_API_KEY"),
            help="the API key, which other users of this machine can see in the process list [HOOKHUB_API_KEY]",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Publish the event; raise CommandError with a remedy."""
        key = key_of(options)
        if not options["url"] or not key:
            raise CommandError("Specify --url and --api-key-file, or set HOOKHUB_URL and HOOKHUB_API_KEY.")
        try:
            with Client(options["url"], key) as hookhub:
                published = hookhub.publish(
                    options["type"],
                    read_data(options["data"]),
                    repository=options["repository"],
                    organization=options["organization"],
                    id=options["id"],
                    trace=trace_of(os.environ),
                )
        except (HookHubError, ValueError) as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(f"{published.id}{' (already published)' if published.replayed else ''}")


def trace_of(environment: Mapping[str, str]) -> dict[str, str] | None:
    """Return the trace that the environment names, in the variables of OpenTelemetry, or None."""
    names = ("TRACEPARENT", "TRACESTATE")
    return {name.lower(): environment[name] for name in names if environment.get(name)} or None


def key_of(options: dict[str, Any]) -> str | None:
    """Return the API key from the file, or else from the argument or the environment, or None; raise CommandError."""
    name = options["api_key_file"]
    if name is None:
        return options["api_key"] or None
    if name == "-" and options["data"] == "-":
        raise CommandError("--data and --api-key-file cannot both read standard input.")
    return secret_files.read(name, option="--api-key-file")


def read_data(argument: str) -> Any:
    """Return the JSON in the argument itself, in ``@FILE``, or on standard input (``-``); raise CommandError."""
    try:
        if argument == "-":
            return json.load(sys.stdin)
        text = Path(argument[1:]).read_text(encoding="utf-8") if argument.startswith("@") else argument
        return json.loads(text)
    except OSError as error:
        raise CommandError(f"Cannot read the file given with --data: {error}") from error
    except ValueError as error:
        raise CommandError(f"--data is not valid JSON: {error}") from error
    except RecursionError as error:
        raise CommandError("--data is nested too deeply.") from error

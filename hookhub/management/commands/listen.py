"""``manage.py listen``: a receiver that verifies and prints webhook requests, and can fail on purpose.

With ``--forward``, it fetches the events of a remote HookHub instead, and sends them to a program on this machine.
"""

import os
import signal
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from hookhub.forwarding import program
from hookhub.forwarding.remote import Failed
from hookhub.management import secret_files
from hookhub.management.listening import Behaviour, Receiver, open_server
from hookhub.receiving import FORMATS, VerificationFailed, verify

# No sender waits longer.
MAX_DELAY = timedelta(days=1)


class Command(BaseCommand):
    """Receive webhooks until Ctrl-C."""

    help = "Receive webhooks on this machine: verify, print and answer them, or forward those of a remote HookHub."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on [127.0.0.1]")
        parser.add_argument("--port", type=int, default=9000, help="the port to listen on, 0 for any free port [9000]")
        parser.add_argument(
            "--secret-file",
            metavar="FILE",
            help="a file with the webhook's secrets, one per line; - for standard input",
        )
        parser.add_argument(
            "--secret",
            action="append",
            default=[],
            help="a secret of the webhook, which other users of this machine can see in the process list; repeatable "
            "[HOOKHUB_WEBHOOK_SECRET]",
        )
        parser.add_argument(
            "--format",
            choices=list(FORMATS),
            help="the webhook's format; requests signed in another one fail verification [from the request's headers]",
        )
        parser.add_argument(
            "--fail", type=int, default=0, metavar="N", help="answer 500 to each delivery's first N requests"
        )
        parser.add_argument("--status", type=int, default=200, metavar="CODE", help="the status to answer with [200]")
        parser.add_argument("--delay", type=float, default=0, metavar="SECONDS", help="wait before answering")
        parser.add_argument("--hang", action="store_true", help="accept requests and never answer")
        parser.add_argument("--json", action="store_true", help="print one JSON object per request")
        parser.add_argument(
            "--forward", metavar="URL", help="fetch the events of the HookHub at --url and send them to this address"
        )
        program.add_arguments(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Serve, or forward, until SIGINT or SIGTERM, then print a summary."""
        if options["forward"] is not None:
            self._forward(options)
            return
        if not 200 <= options["status"] <= 599:
            raise CommandError("--status must be between 200 and 599.")
        if not 0 <= options["delay"] <= MAX_DELAY.total_seconds():
            raise CommandError(f"--delay must be between 0 and {MAX_DELAY.total_seconds():.0f} seconds.")
        behaviour = Behaviour(
            secrets=secrets_for(options["format"], secrets_of(options)),
            format=options["format"],
            fail=options["fail"],
            status=options["status"],
            delay=timedelta(seconds=options["delay"]),
            hang=options["hang"],
            as_json=options["json"],
        )
        receiver = Receiver(behaviour, self._show)
        host = f"[{options['host']}]" if ":" in options["host"] else options["host"]
        try:
            server = open_server(receiver, host=options["host"], port=options["port"])
        except (OSError, OverflowError, TypeError) as error:
            raise CommandError(f"Cannot listen on {host}:{options['port']}: {error}") from error
        # Set explicitly: a shell starts background jobs with SIGINT ignored, and a service manager sends SIGTERM.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        with server:
            self.stderr.write(f"Listening on http://{host}:{server.server_port}/ (Ctrl-C to stop)")
            try:
                server.serve_forever(poll_interval=0.1)
            except KeyboardInterrupt:
                self.stderr.write("")
            finally:
                receiver.closing.set()
        self.stderr.write(receiver.summary())

    def _forward(self, options: dict[str, Any]) -> None:
        secrets = secrets_of(options)
        if len(secrets) > 1:
            raise CommandError("--forward signs with one secret.")
        try:
            forwarding = program.forwarding_of(
                options, target=options["forward"], secret=secrets[0] if secrets else None
            )
            program.run(forwarding, show=self._show, tell=self.stderr.write)
        except (ValueError, Failed) as error:
            raise CommandError(str(error)) from error

    def _show(self, shown: str) -> None:
        self.stdout.write(shown)
        # Output to a pipe is buffered otherwise.
        self.stdout.flush()


def secrets_of(options: dict[str, Any]) -> tuple[str, ...]:
    """Return the webhook's secrets from file and arguments, or else from the environment; raise CommandError."""
    given = list(options["secret"])
    if options["secret_file"] is not None:
        lines = secret_files.read(options["secret_file"], option="--secret-file").splitlines()
        given += [line.strip() for line in lines if line.strip()]
    return tuple(given or os.environ.get("HOOKHUB_WEBHOOK_SECRET", "").split())


def secrets_for(wire_format: str | None, secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the secrets; raise CommandError if a format is given and there are none, or they are invalid for it."""
    if wire_format is None:
        return secrets
    if not secrets:
        raise CommandError("--format requires the webhook's secret; use --secret-file FILE.")
    try:
        verify(b"", {}, secrets=secrets, format=wire_format)
    except VerificationFailed:
        return secrets
    except ValueError as error:
        raise CommandError(f"--format {wire_format}: {error}.") from error
    return secrets

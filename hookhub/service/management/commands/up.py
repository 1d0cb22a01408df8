"""``manage.py up``: runs all of HookHub's processes in one terminal; Ctrl-C stops them."""

import errno
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from honcho import manager as honcho
from honcho.printer import Printer

from deliveries import audit, timezone
from deliveries.models import Organization
from hookhub import procfile
from hookhub.audited import audited
from hookhub.embedded import servers, service
from hookhub.management.demos import LEFT_BY_A_DEMO
from hookhub.models import ApiKey, Membership, Scope
from hookhub.service.management.commands import migrate

DEFAULT_PORT = 8000
PORTS_TRIED = 50
MAX_PORT = 1 << 16
READY_WITHIN_SECONDS = 60
# How often `up` looks whether an embedded server has died.
LOOK_EVERY_SECONDS = 2
# A worker finishes its in-flight requests before it stops; this is the margin on top of the longest timeout.
GRACE_SECONDS = 5


NO_LOGIN_YET = (
    "There is no login yet: create one with `manage.py createsuperuser`, and an API key with "
    "`manage.py create_api_key --organization SLUG --create-organization`. "
    "Outside development mode `up` prints no secrets."
)


class Manager(honcho.Manager):  # type: ignore[misc]  # it has no types
    """Stops its processes also if it is told to before all of them have started; the library would fail then."""

    returncode: int | None
    is_told = False

    def terminate(self) -> None:
        """Stop the processes, once all have started."""
        self.is_told = True
        self._all_started()

    def end(self) -> None:
        """Stop the processes as they are meant to end."""
        if self.returncode is None:
            self.returncode = 0
        self.terminate()

    def _all_started(self) -> bool:
        # The loop asks for this all the time.
        started = bool(super()._all_started())
        if started and self.is_told:
            super().terminate()
        return started


class ReadPrinter(Printer):  # type: ignore[misc]  # it has no types
    """Prints for as long as the output is read, and calls ``stop`` when its reader has gone."""

    stop: Callable[[], None] | None = None

    def write(self, message: Any) -> None:
        """Print a message, unless the reader has gone."""
        if self.stop is None:
            return
        try:
            super().write(message)
        except OSError:
            stop, self.stop = self.stop, None
            stop()


class Command(BaseCommand):
    help = "Run everything: migrations, the web server and a worker, and the embedded servers unless URLs are set."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on [127.0.0.1]")
        parser.add_argument(
            "--no-first-steps", action="store_true", help="do not create a login and an API key on the first start"
        )
        parser.add_argument("--port", type=int, help=f"the port to listen on [the first free one from {DEFAULT_PORT}]")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["port"] and not 0 < options["port"] < MAX_PORT:
            raise CommandError(f"--port: {options['port']} is no port; use one from 1 to {MAX_PORT - 1}.")
        if options["port"] and not is_free(options["host"], options["port"]):
            raise CommandError(
                f"Port {options['port']} is in use; stop the process that listens there, or choose another with --port."
            )
        own = {"postgres": settings.EMBEDDED_DATABASE, "redis": settings.EMBEDDED_REDIS}
        if not any(own.values()):
            self._run(options)
            return
        kinds = " and ".join(
            name for name, is_own in (("PostgreSQL", own["postgres"]), ("Valkey", own["redis"])) if is_own
        )
        self._print(f"Starting the embedded {kinds} in {servers.home()} …")
        try:
            with servers.running(servers.home(), **own), self._restarting(own):
                self._run(options)
        except servers.EmbeddedServersError as error:
            raise CommandError(str(error)) from error

    def _run(self, options: dict[str, Any]) -> None:
        host, port = options["host"], options["port"] or first_free_port(options["host"])
        try:
            call_command("migrate", verbosity=0, interactive=False)
            with migrate.alone(DEFAULT_DB_ALIAS):
                steps = [] if options["no_first_steps"] else first_steps()
        except OperationalError as error:
            raise CommandError(f"Cannot connect to the database; check DATABASE_URL. {error}") from error
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        greeting = [f"HookHub is up: {url}/admin/ (admin), {url}/v1/ (API), {url}/v1/docs (OpenAPI)"]
        greeting += steps
        if host in {"0.0.0.0", "::"} and not os.environ.get("HOOKHUB_SERVED_HOSTS"):  # noqa: S104 - only compared
            greeting.append("Set HOOKHUB_SERVED_HOSTS to the host names under which other machines reach this server.")
        if settings.HOOKHUB_DEVELOPMENT:
            greeting.append(
                "Development mode: webhooks to this machine are allowed. Set HOOKHUB_DEVELOPMENT=0 in production."
            )
        # The child processes must not share this process's database connection.
        connections.close_all()
        self._supervise(url, greeting, environment={"HOST": host, "PORT": str(port)})

    def _supervise(self, url: str, greeting: list[str], *, environment: dict[str, str]) -> None:
        """Run the Procfile's processes until one exits, or a signal stops all of them."""
        honcho.KILL_WAIT = settings.HOOKHUB_MAX_TIMEOUT.total_seconds() + GRACE_SECONDS
        printer = ReadPrinter(sys.stdout)
        manager = Manager(printer)
        printer.stop = manager.end
        # Of a terminal that is closed; `nohup` lets it be ignored.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: manager.end())
        public_url = os.environ.get("HOOKHUB_PUBLIC_URL", url)
        environment = dict(procfile.environment(HOOKHUB_PUBLIC_URL=public_url, **environment))
        for name, command in procfile.commands().items():
            manager.add_process(name, command, env=environment, cwd=str(procfile.ROOT))
        threading.Thread(target=self._greet, args=(url, greeting), daemon=True).start()
        manager.loop()
        self._print("Stopped.")
        if manager.returncode not in {0, 130, 143}:
            raise CommandError(f"A process exited unexpectedly (status {manager.returncode}); see its output above.")

    @contextmanager
    def _restarting(self, own: Mapping[str, bool]) -> Iterator[None]:
        """Start embedded servers again that die, such as for want of memory, until the end of the block."""
        over = threading.Event()
        thread = threading.Thread(target=self._restart, args=(over, own), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            # It must not start again what is stopped from here on.
            thread.join()

    def _restart(self, over: threading.Event, own: Mapping[str, bool]) -> None:
        printed = ""
        while not over.wait(LOOK_EVERY_SECONDS):
            try:
                for name in servers.restart_dead(servers.home(), **own):
                    self._print(f"{name} had died and was started again.")
                printed = ""
            except (servers.EmbeddedServersError, psycopg.Error, OSError) as error:
                message = str(error)
                if message != printed:
                    self._print(message)
                    printed = message

    def _greet(self, url: str, greeting: list[str]) -> None:
        """Print the greeting as soon as the web server is ready."""
        give_up_at = time.monotonic() + READY_WITHIN_SECONDS
        while time.monotonic() < give_up_at:
            if service.is_ready(url):
                break
            time.sleep(0.1)
        # Print it even if the server is not ready: it may hold the first login, which is not shown again.
        self._print("\n".join(["", *greeting, ""]))

    def _print(self, text: str) -> None:
        with suppress(OSError):
            self.stdout.write(text)
            self.stdout.flush()


@transaction.atomic
@audit.by_command("up")
def first_steps() -> list[str]:
    """Create a login, an organization and an API key on the very first start; return the lines that show them.

    Organizations and logins left by ``demo`` do not count as a start. Outside development mode the output is kept in
    the logs of a service manager or a cloud provider, so no secret is created or printed there.
    """
    if not settings.HOOKHUB_DEVELOPMENT:
        return [] if User.objects.exists() else [NO_LOGIN_YET]
    people = User.objects.exclude(username__regex=LEFT_BY_A_DEMO)
    if people.exists() or Organization.objects.exclude(slug__regex=LEFT_BY_A_DEMO).exists():
        return []
    password = secrets.token_urlsafe(12)
    user = User.objects.create_superuser("admin", "admin@localhost", password)
    organization = Organization.objects.create(slug="default", name="Default")
    membership = Membership.objects.create(user=user, organization=organization)
    for made in (user, organization, membership):
        target, state = audited(made)
        audit.record(f"{target.kind}.created", target=target, after=state, now=timezone.now())
    _, key = ApiKey.issue(organization=organization, scope=Scope.MASTER, name="first key", now=timezone.now())
    return [
        f"  login    admin / {password}",
        f"  API key  {key}   (organization {organization.slug})",
        "  Neither can be shown again; `manage.py changepassword admin` and `manage.py create_api_key` make new ones.",
    ]


def is_free(host: str, port: int) -> bool:
    """Return whether no process listens on the port; raise CommandError for a host that is not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise CommandError(f"Cannot listen on {host}: {error.strerror}.") from error
            return False
    return True


def first_free_port(host: str) -> int:
    """Return the first free port from ``DEFAULT_PORT`` on; raise CommandError."""
    for port in range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED):
        if is_free(host, port):
            return port
    raise CommandError(
        f"No port from {DEFAULT_PORT} to {DEFAULT_PORT + PORTS_TRIED - 1} is free; choose one with --port."
    )

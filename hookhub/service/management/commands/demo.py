"""``manage.py demo``: pushes to a real git repository, and checks that the events are delivered and retried."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from deliveries import audit, timezone
from deliveries.models import Organization
from hookhub.client import Client
from hookhub.embedded import servers, service
from hookhub.git.install import install
from hookhub.management.listening import Behaviour, Receiver, open_server
from hookhub.models import ApiKey, Scope
from hookhub.service.management import demo_credentials
from hookhub.service.management.commands.up import first_free_port

PATIENCE = timedelta(seconds=60)
# Seconds instead of minutes, so that the recovery can be watched. The hanging webhook keeps the default schedule.
QUICK_SCHEDULE = [1, 2, 4]
SIGNATURE_OK = "signature ok"


@dataclass
class Subscriber:
    """One webhook of the demo and its receiver."""

    name: str
    behaviour: dict[str, Any]
    fields: dict[str, Any]
    webhook_id: str = ""
    receiver: Receiver = field(default_factory=lambda: Receiver(Behaviour(), lambda _: None))
    server: ThreadingHTTPServer | None = None

    @property
    def answers(self) -> bool:
        """Return whether deliveries to it can succeed."""
        return not self.behaviour.get("hang")


def make_subscribers() -> list[Subscriber]:
    """Return three subscribers: one healthy, one that fails each delivery twice, one that never answers."""
    return [
        Subscriber("healthy", {}, {"format": "coregit"}),
        Subscriber("recovering", {"fail": 2}, {"retry_schedule": QUICK_SCHEDULE}),
        Subscriber("hanging", {"hang": True}, {"timeout": 2}),
    ]


class Command(BaseCommand):
    help = "Push to a real git repository and watch its events being signed, delivered, retried and logged."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--keep", action="store_true", help="Leave everything running at the end, until Ctrl-C, to look at it."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if shutil.which("git") is None:
            raise CommandError("The demo requires git; install it and try again.")
        try:
            self._run(keep=options["keep"])
        except service.ServiceError as error:
            raise CommandError(str(error)) from error

    @audit.by_command("demo")
    def _run(self, *, keep: bool) -> None:
        subscribers = make_subscribers()
        with contextlib.ExitStack() as stack:
            port, log = first_free_port("127.0.0.1"), servers.home() / "demo.log"
            self._print(f"Starting HookHub on port {port} (its output goes to {log}) …")
            # --no-first-steps: the login and the key of a first start are shown only once, and a user should see them.
            url = stack.enter_context(service.running("--no-first-steps", port=port, log=log))
            call_command("migrate", verbosity=0)
            operator, operator_key = ApiKey.issue(
                organization=None, scope=Scope.MASTER, name="demo", now=timezone.now()
            )
            stack.callback(demo_credentials.delete_key, operator)
            organization = f"demo-{timezone.now():%Y%m%d-%H%M%S}"
            key = self._create_organization(url, operator_key, organization)
            login = demo_credentials.create_login(Organization.objects.get(slug=organization))
            stack.callback(demo_credentials.delete_login, login)
            address = f"{url}/admin/deliveries/delivery/"
            self._print(f"Look at its deliveries while it runs: {address}\n  login {organization} / {login.password}")
            client = stack.enter_context(Client(url, key))
            for subscriber in subscribers:
                stack.enter_context(self._subscribed(client, subscriber))
            self._push(Path(stack.enter_context(tempfile.TemporaryDirectory())), url=url, key=key)
            expected = self._wait_until_settled(client, subscribers)
            self._show_log(client, subscribers)
            self._print("\nChecking the invariants …")
            call_command("check_ledger", settling=timedelta(0), stdout=self.stdout)
            summary = self._summarise(client, subscribers, events=expected)
            if keep:
                self._print(f"{summary.line}\nStill running at {address} until Ctrl-C.")
                wait_for_interrupt()
        if not keep:
            self._print(summary.line)
        if not summary.is_good:
            raise CommandError("The demo failed; see the delivery log above.")

    def _create_organization(self, url: str, operator_key: str, organization: str) -> str:
        """Create an organization with a repository through the API; return an API key of the organization."""
        with requests.Session() as session:
            # The server is on this machine; ignore proxies from the environment.
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {operator_key}"
            for path, body in (("organizations", {"slug": organization}), ("repositories", {"name": "widgets"})):
                answer = session.post(
                    f"{url}/v1/{path}", json=body, timeout=10,
                    params={} if path == "organizations" else {"organization": organization},
                )  # fmt: skip
                if not answer.ok:
                    raise CommandError(f"POST /v1/{path} answered {answer.status_code}: {answer.text}")
        _, key = ApiKey.issue(
            organization=Organization.objects.get(slug=organization),
            scope=Scope.MASTER,
            name="demo",
            now=timezone.now(),
        )
        self._print(f"Created organization {organization} with repository widgets.")
        return key

    @contextlib.contextmanager
    def _subscribed(self, client: Client, subscriber: Subscriber) -> Iterator[None]:
        """Start a receiver, and create the webhook that sends to it."""
        subscriber.server = server = open_server(subscriber.receiver, host="127.0.0.1", port=0)
        created = client.webhooks.create(
            f"http://127.0.0.1:{server.server_port}/{subscriber.name}",
            events=["*"],
            name=subscriber.name,
            settings=subscriber.fields,
        )
        subscriber.webhook_id = created["id"]
        # The secret is only in the response that creates the webhook.
        subscriber.receiver.behaviour = Behaviour(
            secrets=(created["secret"],), format=created["format"], **subscriber.behaviour
        )
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._print(f"Webhook {subscriber.name:<10} {created['format']:<17} -> {created['url']}")
        try:
            yield
        finally:
            subscriber.receiver.closing.set()
            server.shutdown()
            server.server_close()

    def _push(self, folder: Path, *, url: str, key: str) -> None:
        """Create a bare repository with the post-receive hook, and push commits, branches and a tag to it."""
        bare, work = folder / "widgets.git", folder / "work"
        git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
        install(bare, url=url, api_key=key, name="widgets", interpreter=sys.executable)
        git("clone", "--quiet", str(bare), str(work))
        git("checkout", "--quiet", "-B", "main", at=work)
        for name, text in (
            ("README.md", "# Widgets\n"),
            ("widget.py", "print('ré≤widget 🎉')\n"),
            ("LICENSE", "Do as you like.\n"),
        ):
            (work / name).write_text(text)
            git("add", name, at=work)
            git("commit", "--quiet", "-m", f"Add {name}", at=work)
        pushes = [("main", "branch main with three commits")]
        git("push", "--quiet", "origin", "main", at=work)
        git("checkout", "--quiet", "-b", "feature/faster", at=work)
        (work / "widget.py").write_text("print('faster')\n")
        git("commit", "--quiet", "--all", "-m", "Make it faster", at=work)
        for ref, what in (
            ("feature/faster", "a branch with one more commit"),
            ("v1.0", "a tag"),
            (":feature/faster", "the deletion of the second branch"),
        ):
            if ref == "v1.0":
                git("tag", "-a", "v1.0", "-m", "First release", at=work)
            git("push", "--quiet", "origin", ref, at=work)
            pushes.append((ref, what))
        *pushed, last = (what for _, what in pushes)
        self._print(f"Pushed {', '.join(pushed)}, and {last}.")

    def _wait_until_settled(self, client: Client, subscribers: list[Subscriber]) -> int:
        """Wait until all answering webhooks have every event and the hanging one was tried; return the event count."""
        seen = 0

        def is_settled() -> bool:
            nonlocal seen
            counts = [
                Counter(row["state"] if row["attempts_made"] else "untried" for row in log_of(client, subscriber))
                for subscriber in subscribers
            ]
            seen = max(sum(count.values()) for count in counts)
            good = [
                count["delivered"] == seen if subscriber.answers else count["untried"] + count["sending"] == 0
                for subscriber, count in zip(subscribers, counts, strict=True)
            ]
            return seen >= EVENTS and all(good)

        self._print("Waiting for the deliveries …")
        # After a timeout, continue: the delivery log and the verdict show what is missing.
        with contextlib.suppress(CommandError):
            self._until(is_settled, "the deliveries")
        return seen

    def _show_log(self, client: Client, subscribers: list[Subscriber]) -> None:
        """Print the delivery log as a table, by webhook and oldest first."""
        names = {subscriber.webhook_id: subscriber.name for subscriber in subscribers}
        rows = sorted(client.deliveries.list(), key=lambda row: (row["webhook"], row["id"]))
        self._print(f"\n{'delivery':<38}{'webhook':<12}{'event':<16}{'state':<11}{'attempts':>8}  {'status':<8}next")
        for row in rows:
            last = row["last_status"] or "none"
            self._print(
                f"{row['id']:<38}{names[row['webhook']]:<12}{row['type']:<16}{row['state']:<11}"
                f"{row['attempts_made']:>8}  {last:<8}{next_of(row)}"
            )

    def _summarise(self, client: Client, subscribers: list[Subscriber], *, events: int) -> "Summary":
        """Check the receivers' records and the delivery log against the expected counts."""
        per_subscriber = [log_of(client, subscriber) for subscriber in subscribers if subscriber.answers]
        arrived = [sum(row["state"] == "delivered" for row in rows) for rows in per_subscriber]
        hanging = [row for subscriber in subscribers if not subscriber.answers for row in log_of(client, subscriber)]
        retries = sum(row["state"] in {"pending", "sending"} and row["attempts_made"] > 0 for row in hanging)
        verdicts: Counter[str] = Counter()
        for subscriber in subscribers:
            verdicts += subscriber.receiver.verdicts
        verified = verdicts[SIGNATURE_OK]
        had_three_attempts = all(row["attempts_made"] == 3 for row in per_subscriber[1])
        is_good = (
            events == EVENTS
            and all(count == events for count in arrived)
            and verified == sum(verdicts.values()) > 0
            and retries == events == len(hanging)
            and had_three_attempts
        )
        line = (
            f"demo: {min(arrived)} of {events} events delivered to every webhook that answers, "
            f"{verified} signatures verified, {retries} retries scheduled for the one that hangs"
        )
        return Summary(line, is_good)

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        give_up_at = time.monotonic() + PATIENCE.total_seconds()
        while not condition():
            if time.monotonic() > give_up_at:
                raise CommandError(f"Timed out after {PATIENCE} waiting for {what}.")
            time.sleep(0.1)

    def _print(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


# The events of the four pushes: two branches and a tag created, one branch deleted, and one push event for each.
EVENTS = 8


@dataclass(frozen=True)
class Summary:
    """The demo's summary line, and whether every check passed."""

    line: str
    is_good: bool


def wait_for_interrupt() -> None:
    """Return on Ctrl-C, or when a service manager ends the process."""
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    interrupted.wait()


def log_of(client: Client, subscriber: Subscriber) -> list[dict[str, Any]]:
    """Return a webhook's deliveries."""
    return list(client.deliveries.list(webhook=subscriber.webhook_id, page_size=200))


def next_of(row: dict[str, Any]) -> str:
    """Return the number of the next attempt and the seconds until it, as text; "-" if there is none."""
    if row["due_at"] is None:
        return "-"
    wait = datetime.fromisoformat(row["due_at"]) - datetime.now(UTC)
    return f"attempt {row['attempts_made'] + 1} in {max(0, round(wait.total_seconds()))} s"


def git(*words: str, at: Path | None = None) -> None:
    """Run git with a fixed author and without the user's configuration; raise CommandError."""
    person = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in PERSON.items()}
    environment = {**os.environ, **person, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *words], cwd=at, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"git {' '.join(words)} failed: {done.stderr.strip()}")


PERSON = {"NAME": "Ada Example", "EMAIL": "ada@example.org"}

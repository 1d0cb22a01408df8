"""Sets up a scenario: database, proxies, processes, receiver, webhooks and publishers."""

import itertools
import json
import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from chaos.checkers.validity import helper_failures
from chaos.mutations import patches
from chaos.nemesis.context import RunContext
from chaos.scenarios.scenario import Scenario
from chaos.workload.publisher import Plan
from hookhub.stream_client import DEFAULT_STREAM
from testbed import pgbouncer
from testbed.instance import Instance
from testbed.processes import Log, Module, free_port, wait_for
from testbed.proxy import Proxy
from testbed.servers import Servers

# Short, so that the leases of a dead worker expire within the scenario.
TIMEOUT_SECONDS, LEASE_SECONDS = 3.0, 6.0
SETTINGS = {
    "HOOKHUB_TIMEOUT": f"{TIMEOUT_SECONDS:g}",
    "HOOKHUB_LEASE": f"{LEASE_SECONDS:g}",
    "HOOKHUB_WORKER_PROCESSES": "2",
    "WEB_WORKERS": "1",
}
# Of all events of a scenario with subscriptions.
REPOSITORY = "widgets"


def folder_for(scenario: Scenario, keep: Path | None, stack: ExitStack) -> Path:
    """Create the folder of a run's logs and history; without ``keep`` it is removed when the stack is closed.

    A scenario may run more than once: its second folder is called ``name-2``, and no kept folder is overwritten.
    """
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookhub-chaos-run-")))
    keep.mkdir(parents=True, exist_ok=True)
    names = itertools.chain([scenario.name], (f"{scenario.name}-{number}" for number in itertools.count(2)))
    folder = next(keep / name for name in names if not (keep / name).exists())
    folder.mkdir()
    return folder


@contextmanager
def set_up(scenario: Scenario, *, seed: int, servers: Servers, folder: Path, log: Log) -> Iterator[RunContext]:
    """Create the database, the proxies and the processes, not yet started; kill the remaining processes at the end."""
    failpoint_dir = folder / "failpoints"
    failpoint_dir.mkdir()
    database_url, port = servers.new_database(), free_port()
    settings = {"REDIS_URL": servers.redis_url, "PORT": str(port), **SETTINGS, **scenario.settings}
    if scenario.bug:
        settings[patches.BUG] = scenario.bug
    with ExitStack() as stack:
        pooler = pgbouncer.port_of(database_url) if pgbouncer.pooled(database_url) != database_url else None
        targets: dict[str, str | tuple[str, int]] = {
            "database": ("127.0.0.1", pooler)
            if pooler
            else f"{psycopg.conninfo.conninfo_to_dict(database_url)['host']}/.s.PGSQL.5432",
            "redis": urlsplit(servers.redis_url).path,
            "web": ("127.0.0.1", port),
        }
        # The receiver's port is not known yet.
        proxies = {name: stack.enter_context(Proxy(targets[name])) for name in scenario.proxied if name in targets}
        if "database" in proxies:
            name = urlsplit(database_url).path.removeprefix("/")
            settings["DATABASE_URL"] = f"postgresql://postgres@127.0.0.1:{proxies['database'].port}/{name}"
        if "redis" in proxies:
            settings["REDIS_URL"] = f"redis://127.0.0.1:{proxies['redis'].port}/0"
        instance = Instance(
            servers, logs=folder, database_url=database_url, HOOKHUB_FAILPOINTS=str(failpoint_dir), **settings
        )
        instance.commands = {name: rewritten(command) for name, command in instance.commands.items()}
        stack.callback(instance.close)
        context = RunContext(
            instance=instance,
            lease=LEASE_SECONDS,
            stops_within=TIMEOUT_SECONDS + scenario.stop_grace,
            proxies=proxies,
            failpoint_dir=failpoint_dir,
            rng=random.Random(f"{scenario.name} {seed} faults"),
            log=log,
            protected=scenario.protected,
        )
        stack.callback(context.close)
        yield context


def rewritten(command: str) -> str:
    """Return a Procfile command with the harness's entry points, which can apply a mutation or a wrong clock.

    Raises ValueError when the command contains no entry point that they replace.
    """
    changed = command.replace("hookhub.service.celery", "chaos.mutations.celery").replace(
        "hookhub.service.asgi", "chaos.mutations.asgi"
    )
    if changed == command:
        raise ValueError(f"no mutation can be applied to the command {command!r}")
    return changed


@contextmanager
def helper(module: str, *arguments: str, folder: Path, complaints: list[str]) -> Iterator[Module]:
    """Run a helper process of the harness, and add its problems to ``complaints``."""
    log = folder / f"{module}.log"
    running = Module(module, *arguments, log=log)
    try:
        yield running
    finally:
        ended_early = running.process.poll() is not None
        was_killed, code = not running.close(), running.process.returncode
        complaints += helper_failures(
            module, ended_early=ended_early, was_killed=was_killed, code=code, log=log.read_text()
        )


def configure(receiver: Module, message: Mapping[str, Any]) -> None:
    """Send the receiver a message, and wait for its confirmation."""
    receiver.send(json.dumps(message))
    if receiver.read() != "ok":
        raise RuntimeError("the receiver did not confirm the message")


def start(scenario: Scenario, context: RunContext) -> None:
    """Start the web server and the workers."""
    context.instance.start("web")
    for number in range(1, scenario.workers + 1):
        name = "worker" if number == 1 else f"worker-{number}"
        context.instance.start(name, **scenario.extra_environment.get(name, {}))
    wait_for(context.is_up, "all processes to be up")


def make_webhooks(scenario: Scenario, context: RunContext, receiver_port: int) -> dict[str, str]:
    """Create the webhooks through the API, and return their secrets by path."""
    port = receiver_port
    if "receiver" in scenario.proxied:
        context.proxies["receiver"] = Proxy(("127.0.0.1", receiver_port))
        port = context.stack.enter_context(context.proxies["receiver"]).port
    secrets = {}
    for subscriber in scenario.subscribers:
        created = context.instance.client.webhooks.create(
            f"http://127.0.0.1:{port}{subscriber.path}",
            events=list(subscriber.topics),
            format="standard-webhooks",
            settings={
                "retry_schedule": list(subscriber.schedule),
                "max_in_flight": subscriber.in_flight,
                "auto_disable": subscriber.auto_disable,
            },
        )
        secrets[subscriber.path] = str(created["secret"])
    return secrets


def publisher_plan(scenario: Scenario, context: RunContext, seed: int, folder: Path) -> str:
    """Return the plan for the publisher process as JSON."""
    web = context.proxies["web"].port if "web" in context.proxies else context.instance.port
    made = Plan(
        url=f"http://127.0.0.1:{web}",
        key=context.instance.key,
        redis_url=context.instance.servers.redis_url,
        stream=DEFAULT_STREAM,
        journal=str(folder / "journal"),
        seed=seed,
        rates=dict(scenario.rates),
        repository=REPOSITORY if scenario.subscribes else "",
    )
    return json.dumps(asdict(made))


def make_commits_slow(context: RunContext, seconds: float) -> None:
    """Delay every COMMIT that stores an event, with a deferred constraint trigger."""
    with psycopg.connect(context.instance.database_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE FUNCTION chaos_wait() RETURNS trigger LANGUAGE plpgsql AS"
            f" 'BEGIN PERFORM pg_sleep({seconds:f}); RETURN NULL; END';"
            " CREATE CONSTRAINT TRIGGER chaos_wait AFTER INSERT ON hookhub_event"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chaos_wait()".encode()
        )

"""Sets up a scenario: database, proxies, processes, receiver, webhooks and publishers."""

import itertools
import json
import random
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from bench.stage import free_port, wait_for
from chaos.checkers.validity import ailments
from chaos.mutations import patches
from chaos.nemesis.context import Scene, Tell
from chaos.scenarios.scenario import Scenario
from chaos.workload.publisher import Plan
from hookhub.client import Client
from hookhub.stream_client import DEFAULT_STREAM
from testbed.processes import Crew
from testbed.proxy import Proxy
from testbed.servers import Ground, run_helper

# Short, so that the leases of a dead worker expire within the scenario.
TIMEOUT_SECONDS, LEASE_SECONDS = 3.0, 6.0
SETTINGS = {
    "HOOKHUB_TIMEOUT": f"{TIMEOUT_SECONDS:g}",
    "HOOKHUB_LEASE": f"{LEASE_SECONDS:g}",
    "HOOKHUB_WORKER_PROCESSES": "2",
}
STARTS_WITHIN_SECONDS = 90


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
def set_up(scenario: Scenario, *, seed: int, ground: Ground, folder: Path, tell: Tell) -> Iterator[Scene]:
    """Create the database, the proxies and the processes, not yet started; kill the remaining processes at the end."""
    orders = folder / "orders"
    orders.mkdir()
    direct = ground.new_database()
    port = free_port()
    with ExitStack() as stack:
        proxies: dict[str, Proxy] = {}
        urls = {"DATABASE_URL": direct, "REDIS_URL": ground.redis_url}
        for part in scenario.proxied:
            if part == "receiver":
                continue  # Its port is not known yet.
            targets: dict[str, str | tuple[str, int]] = {
                "database": f"{socket_directory_of(direct)}/.s.PGSQL.5432",
                "redis": urlsplit(ground.redis_url).path,
                "web": ("127.0.0.1", port),
            }
            proxies[part] = stack.enter_context(Proxy(targets[part]))
        if "database" in proxies:
            name = urlsplit(direct).path.removeprefix("/")
            urls["DATABASE_URL"] = f"postgresql://postgres@127.0.0.1:{proxies['database'].port}/{name}"
        if "redis" in proxies:
            urls["REDIS_URL"] = f"redis://127.0.0.1:{proxies['redis'].port}/0"
        environment = ground.environment(
            **urls, **SETTINGS, **scenario.settings, PORT=str(port), HOOKHUB_FAILPOINTS=str(orders)
        )
        crew = Crew(logs=folder, environment=environment, rewrite=rewritten)
        stack.callback(crew.close)
        if scenario.bug:
            crew.environment[patches.BUG] = scenario.bug
        scene = Scene(
            ground=ground,
            crew=crew,
            database_url=direct,
            lease=LEASE_SECONDS,
            stops_within=TIMEOUT_SECONDS + scenario.stops_late,
            proxies=proxies,
            orders=orders,
            chance=random.Random(f"{scenario.name} {seed} faults"),
            tell=tell,
            spared=scenario.spared,
        )
        stack.callback(scene.close)
        yield scene


def rewritten(command: str) -> str:
    """Return a Procfile command with the harness's entry points, which can apply a mutation or a wrong clock.

    Raises ValueError when the command contains no entry point that they replace.
    """
    changed = command.replace("config.celery", "chaos.mutations.celery").replace("config.asgi", "chaos.mutations.asgi")
    if changed == command:
        raise ValueError(f"no mutation can be applied to the command {command!r}")
    return changed


def socket_directory_of(database_url: str) -> str:
    """Return the directory of an embedded PostgreSQL's socket, from its URL."""
    return psycopg.conninfo.conninfo_to_dict(database_url)["host"]  # type: ignore[return-value]


@contextmanager
def helper(module: str, *arguments: str, folder: Path, complaints: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """Run a helper process of the harness, end it by closing its input, and add its problems to ``complaints``."""
    log = folder / f"{module}.log"
    process = run_helper(module, *arguments, log=log)
    was_killed = False
    try:
        yield process
    finally:
        ended_early = process.poll() is not None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            was_killed = True
            process.kill()
            process.wait()
        complaints += ailments(
            module, ended_early=ended_early, was_killed=was_killed, code=process.returncode, log=log.read_text()
        )


def say(receiver: "subprocess.Popen[str]", told: Mapping[str, Any]) -> None:
    """Send the receiver a message, and wait for its confirmation."""
    assert receiver.stdin is not None
    assert receiver.stdout is not None
    receiver.stdin.write(json.dumps(told) + "\n")
    receiver.stdin.flush()
    if receiver.stdout.readline().strip() != "ok":
        raise RuntimeError("the receiver did not confirm the message")


def start(scenario: Scenario, scene: Scene) -> None:
    """Start the web server and the workers."""
    scene.crew.start("web")
    for number in range(1, scenario.workers + 1):
        name = "worker" if number == 1 else f"worker-{number}"
        scene.crew.start(name, **scenario.differences.get(name, {}))
    wait_for(scene.is_up, "all processes to be up", seconds=STARTS_WITHIN_SECONDS)


def make_webhooks(scenario: Scenario, scene: Scene, receiver_port: int) -> dict[str, str]:
    """Create the webhooks through the API, and return their secrets by path."""
    port = receiver_port
    if "receiver" in scenario.proxied:
        scene.proxies["receiver"] = Proxy(("127.0.0.1", receiver_port))
        port = scene.stack.enter_context(scene.proxies["receiver"]).port
    secrets = {}
    with Client(scene.url, scene.ground.key) as client:
        for part in scenario.parts:
            terms = {"retry_schedule": list(part.schedule), "max_in_flight": part.in_flight}
            created = client.webhooks.create(
                f"http://127.0.0.1:{port}{part.path}",
                events=list(part.topics),
                format="standard-webhooks",
                settings={**terms, "auto_disable": part.disables},
            )
            secrets[part.path] = str(created["secret"])
    return secrets


def publisher_plan(scenario: Scenario, scene: Scene, seed: int, folder: Path) -> str:
    """Return the plan for the publisher process as JSON."""
    web = scene.proxies["web"].port if "web" in scene.proxies else scene.crew.environment["PORT"]
    made = Plan(
        url=f"http://127.0.0.1:{web}",
        key=scene.ground.key,
        redis_url=scene.ground.redis_url,
        stream=DEFAULT_STREAM,
        journal=str(folder / "journal"),
        seed=seed,
        rates=dict(scenario.rates),
    )
    return json.dumps(asdict(made))


def make_commits_slow(scene: Scene, seconds: float) -> None:
    """Delay every COMMIT that stores an event, with a deferred constraint trigger."""
    with psycopg.connect(scene.database_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE FUNCTION chaos_wait() RETURNS trigger LANGUAGE plpgsql AS"
            f" 'BEGIN PERFORM pg_sleep({seconds:f}); RETURN NULL; END';"
            " CREATE CONSTRAINT TRIGGER chaos_wait AFTER INSERT ON deliveries_event"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chaos_wait()".encode()
        )

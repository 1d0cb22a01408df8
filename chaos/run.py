"""One scenario from its start to its verdict."""

import json
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from redis.exceptions import RedisError

from bench.stage import free_port, wait_for
from chaos import bugs, reading
from chaos.crew import Crew
from chaos.faults import FAULTS
from chaos.ground import Ground, run_helper
from chaos.plans import Scenario, plan
from chaos.processes import STOPS_LATE_SECONDS
from chaos.proxy import Proxy
from chaos.publisher import Plan
from chaos.records import Records
from chaos.scene import Scene, Tell
from chaos.script import as_json
from chaos.verdict import Verdict, judge
from hookhub import service
from hookhub.client import Client
from hookhub.stream_client import DEFAULT_STREAM

# Short, so that what a dead worker held is found again while one watches.
TIMEOUT_SECONDS, LEASE_SECONDS = 3.0, 6.0
SETTINGS = {
    "HOOKHUB_TIMEOUT": f"{TIMEOUT_SECONDS:g}",
    "HOOKHUB_LEASE": f"{LEASE_SECONDS:g}",
    "HOOKHUB_WORKER_PROCESSES": "2",
}
STARTS_WITHIN_SECONDS = 90
COMES_TO_REST_WITHIN_SECONDS = 90
# An entry of the stream that a dead worker had in hand is taken over after a lease, at the next look behind.
STREAM_STORED_WITHIN_SECONDS = LEASE_SECONDS + 15
UNREST = """
SELECT (SELECT count(*) FROM deliveries_arrival),
       (SELECT count(*) FROM deliveries_delivery WHERE state IN ('pending', 'sending'))
"""


def run(scenario: Scenario, *, seed: int, ground: Ground, tell: Tell, keep: Path | None = None) -> Verdict:
    """Run a scenario on a ground, and judge what was written down meanwhile, which may be kept."""
    with ExitStack() as stack:
        paths = folder_for(scenario, keep, stack)
        scene = stack.enter_context(set_up(scenario, seed=seed, ground=ground, folder=paths, tell=tell))
        receiver = stack.enter_context(helper("chaos.receiver", str(paths / "arrivals"), folder=paths))
        assert receiver.stdout is not None
        receiver_port = int(receiver.stdout.readline())
        for fault in scenario.before:
            FAULTS[fault](scene)
        start(scenario, scene)
        secrets = make_webhooks(scenario, scene, receiver_port)
        say(receiver, {"secrets": secrets, "script": as_json(scenario.script()), "seed": seed, "begun_at": time.time()})
        if scenario.commits_take:
            make_commits_slow(scene, scenario.commits_take)
        with helper("chaos.publisher", publisher_plan(scenario, scene, seed, paths), folder=paths):
            play(scenario, scene, seed=seed)
        begun_at = time.monotonic()
        come_to_rest(scene)
        tell(f"    at rest {time.monotonic() - begun_at:.1f} s after the last event")
        stop_all(scene)
        records = gather(scenario, scene, paths)
        if keep is not None:
            (paths / "attempts").write_text("".join(json.dumps(one._asdict()) + "\n" for one in records.attempts))
        return judge(records, scenario=scenario.name, seed=seed, complaints=scene.complaints)


def folder_for(scenario: Scenario, keep: Path | None, stack: ExitStack) -> Path:
    """Make the folder of a scenario's logs and records, to be kept or to go with the stack."""
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookhub-chaos-run-")))
    folder = keep / scenario.name
    folder.mkdir(parents=True)
    return folder


@contextmanager
def set_up(scenario: Scenario, *, seed: int, ground: Ground, folder: Path, tell: Tell) -> Iterator[Scene]:
    """Make the database, the proxies and the crew, none of it started yet; kill what is left of it in the end."""
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
            crew.environment[bugs.BUG] = scenario.bug
        scene = Scene(
            ground=ground,
            crew=crew,
            database_url=direct,
            lease=LEASE_SECONDS,
            proxies=proxies,
            orders=orders,
            chance=random.Random(f"{scenario.name} {seed} faults"),
            tell=tell,
        )
        stack.callback(scene.close)
        yield scene


def rewritten(command: str) -> str:
    """Start the same by the harness's own entry points, which can build a bug or a wrong clock in."""
    return command.replace("config.celery", "chaos.celery").replace("config.wsgi", "chaos.wsgi")


def socket_directory_of(database_url: str) -> str:
    """Give where an embedded PostgreSQL's socket is, from its URL."""
    return psycopg.conninfo.conninfo_to_dict(database_url)["host"]  # type: ignore[return-value]


@contextmanager
def helper(module: str, *arguments: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run one of the harness's own processes; told to end by the end of its input, and waited for."""
    process = run_helper(module, *arguments, log=folder / f"{module}.log")
    try:
        yield process
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def say(receiver: "subprocess.Popen[str]", told: Mapping[str, Any]) -> None:
    """Tell the receiver something, and wait until it has understood."""
    assert receiver.stdin is not None
    assert receiver.stdout is not None
    receiver.stdin.write(json.dumps(told) + "\n")
    receiver.stdin.flush()
    if receiver.stdout.readline().strip() != "understood":
        raise RuntimeError("the receiver did not understand")


def start(scenario: Scenario, scene: Scene) -> None:
    """Start the web server and the workers."""
    scene.crew.start("web")
    for number in range(1, scenario.workers + 1):
        name = "worker" if number == 1 else f"worker-{number}"
        scene.crew.start(name, **scenario.differences.get(name, {}))
    wait_for(scene.is_up, "everything to be up", seconds=STARTS_WITHIN_SECONDS)


def make_webhooks(scenario: Scenario, scene: Scene, receiver_port: int) -> dict[str, str]:
    """Make the webhooks through the API, and give their secrets by path."""
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
    """Write down for the publishers' process what it is to do."""
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


def play(scenario: Scenario, scene: Scene, *, seed: int) -> None:
    """Do what the plan says when it says so, and let the publishers publish for as long as the scenario wants."""
    begun_at = time.monotonic()
    for step in plan(scenario, seed=seed):
        scene.wait(begun_at + step.at - time.monotonic())
        FAULTS[step.fault](scene)
    scene.wait(begun_at + scenario.seconds - time.monotonic())


def come_to_rest(scene: Scene) -> None:
    """Wait until nothing is waiting or being sent any more; what does not come to rest is for the accounting to say."""
    give_up_at = time.monotonic() + COMES_TO_REST_WITHIN_SECONDS
    while time.monotonic() < give_up_at:
        scene.wait(0.25)
        with suppress(psycopg.Error, RedisError), psycopg.connect(scene.database_url) as connection:
            waiting = connection.execute(UNREST).fetchone()
            with scene.ground.redis() as redis:
                entries = redis.xlen(DEFAULT_STREAM)
            if waiting == (0, 0) and not entries:
                return
    scene.tell(f"    not at rest after {COMES_TO_REST_WITHIN_SECONDS} s")


def stop_all(scene: Scene) -> None:
    """SIGTERM everything, as a service manager does; it must end in time and without an error."""
    limit = LEASE_SECONDS + STOPS_LATE_SECONDS
    processes = {name: scene.crew.tell_to_stop(name) for name in list(scene.crew.processes)}
    give_up_at = time.monotonic() + limit
    for name, process in processes.items():
        try:
            code = process.wait(max(0.1, give_up_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            scene.complaints.append(f"{name} does not stop within {limit:g} s of SIGTERM")
            process.kill()
            process.wait()
        else:
            if code:
                scene.complaints.append(f"{name} ended with {code} after SIGTERM")


def gather(scenario: Scenario, scene: Scene, folder: Path) -> Records:
    """Read the three records, and have the ledger checked."""
    ledger = []
    try:
        service.run("check_ledger", "--settling", "0", "--grace", "0", environment={
            **scene.crew.environment, "DATABASE_URL": scene.database_url, "HOOKHUB_FAILPOINTS": "",
        })  # fmt: skip
    except service.ServiceError as error:
        ledger.append(str(error))
    with psycopg.connect(scene.database_url) as connection:
        return Records(
            published=reading.read_journal(reading.lines_of(folder / "journal")),
            arrivals=reading.read_log(reading.lines_of(folder / "arrivals")),
            stored=reading.read_stored(connection),
            owed=reading.read_owed(connection),
            attempts=reading.read_attempts(connection),
            hooks=reading.read_hooks(connection, scenario.parts, timeout=TIMEOUT_SECONDS),
            interruptions=scene.interruptions,
            forgotten_at=scene.forgotten_at,
            stored_within=STREAM_STORED_WITHIN_SECONDS,
            lease=LEASE_SECONDS,
            ledger=ledger,
            prompt_within=scenario.prompt_within,
            late_allowed=scenario.late_allowed,
        )


def make_commits_slow(scene: Scene, seconds: float) -> None:
    """Have every COMMIT that stores an event take so long, by a trigger that PostgreSQL defers until then."""
    with psycopg.connect(scene.database_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE FUNCTION chaos_wait() RETURNS trigger LANGUAGE plpgsql AS"
            f" 'BEGIN PERFORM pg_sleep({seconds:f}); RETURN NULL; END';"
            " CREATE CONSTRAINT TRIGGER chaos_wait AFTER INSERT ON deliveries_event"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chaos_wait()".encode()
        )

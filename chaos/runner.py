"""Runs one scenario from setup to verdict."""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path

import psycopg
from redis.exceptions import RedisError

from bench.stage import wait_for
from chaos import reading
from chaos.checkers.report import Verdict, judge
from chaos.checkers.validity import (
    Span,
    deaf_hooks,
    idle_kills,
    open_seconds,
    quiet_doors,
    rejections,
    silent_spans,
    web_crashes,
    worker_crashes,
)
from chaos.history import Records
from chaos.nemesis import stall_monitor, web_monitor
from chaos.nemesis.context import Scene, Tell
from chaos.nemesis.faults import FAULTS
from chaos.nemesis.processes import see_to_the_end_of, tell_to_stop, wait_until_up
from chaos.scenarios.scenario import Scenario, plan
from chaos.setup import (
    LEASE_SECONDS,
    STARTS_WITHIN_SECONDS,
    TIMEOUT_SECONDS,
    folder_for,
    helper,
    make_commits_slow,
    make_webhooks,
    publisher_plan,
    say,
    set_up,
    start,
)
from chaos.workload.behaviour import as_json
from hookhub.embedded import service
from hookhub.stream_client import DEFAULT_STREAM
from testbed.servers import Ground

# A stream entry pending at a dead worker is claimed by another after a lease, at the next check for stale entries.
STREAM_STORED_WITHIN_SECONDS = LEASE_SECONDS + 15
UNREST = """
SELECT (SELECT count(*) FROM deliveries_arrival),
       (SELECT count(*) FROM deliveries_delivery WHERE state IN ('pending', 'sending'))
"""


def run(
    scenario: Scenario,
    *,
    seed: int,
    ground: Ground,
    tell: Tell,
    keep: Path | None = None,
    around: Callable[[Scene], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Verdict:
    """Run a scenario, check its history, and return the verdict; ``keep`` is where logs and history go.

    ``around`` is entered with the run context for as long as the publishers run.
    """
    with ExitStack() as stack:
        paths = folder_for(scenario, keep, stack)
        scene = stack.enter_context(set_up(scenario, seed=seed, ground=ground, folder=paths, tell=tell))
        of_ours = partial(helper, folder=paths, complaints=scene.complaints)
        with of_ours("chaos.workload.receiver", str(paths / "arrivals")) as receiver:
            prepare(scenario, scene, receiver, seed=seed)
            stack.enter_context(stall_monitor.taken(scene))
            published = of_ours("chaos.workload.publisher", publisher_plan(scenario, scene, seed, paths))
            with published, web_monitor.kept(scene), around(scene):
                wait_for_the_first_events(scenario, scene, paths / "journal")
                publishing = play(scenario, scene, seed=seed)
            begun_at = time.monotonic()
            come_to_rest(scene, within=scenario.rests_within)
            tell(f"    quiescent {time.monotonic() - begun_at:.1f} s after the last event")
            stop_all(scene)
        records = gather(scenario, scene, paths)
        scene.complaints += shortcomings(scenario, scene, records, publishing=publishing, folder=paths)
        (paths / "attempts").write_text("".join(json.dumps(one._asdict()) + "\n" for one in records.attempts))
        verdict = judge(records, scenario=scenario.name, seed=seed, complaints=scene.complaints)
        if verdict.breaches and keep is None and not scenario.bug:
            # An unexpected violation may not be reproducible.
            kept = Path(tempfile.mkdtemp(prefix=f"hookhub-chaos-{scenario.name}-{seed}-"))
            shutil.copytree(paths, kept, dirs_exist_ok=True)
            tell(f"  logs and history are kept in {kept}")
        return verdict


def prepare(scenario: Scenario, scene: Scene, receiver: "subprocess.Popen[str]", *, seed: int) -> None:
    """Start everything, create the webhooks, and configure the receiver."""
    assert receiver.stdout is not None
    receiver_port = int(receiver.stdout.readline())
    for fault in scenario.before:
        FAULTS[fault](scene)
    start(scenario, scene)
    secrets = make_webhooks(scenario, scene, receiver_port)
    say(receiver, {"secrets": secrets, "script": as_json(scenario.script()), "seed": seed, "begun_at": time.time()})
    if scenario.commits_take:
        make_commits_slow(scene, scenario.commits_take)


def wait_for_the_first_events(scenario: Scenario, scene: Scene, journal: Path) -> None:
    """Wait until each entry point has accepted an event: on a busy machine the first answers take seconds."""
    # A scenario that starts without Redis cannot use the stream yet.
    needed = {door for door in scenario.rates if not (scenario.before and door == "stream")}

    def are_accepted() -> bool:
        scene.wait(0.1)
        events = reading.read_journal(reading.complete_lines_of(journal))
        return needed <= {event.door for event in events if event.said == "acknowledged"}

    wait_for(are_accepted, f"{', '.join(sorted(needed))} to accept an event", seconds=STARTS_WITHIN_SECONDS)


def play(scenario: Scenario, scene: Scene, *, seed: int) -> Span:
    """Inject the planned faults on time while the publishers run, for as long as the scenario says.

    Returns when that began and ended, and reports each fault that did nothing.
    """
    since, begun_at = time.time(), time.monotonic()
    for step in plan(scenario, seed=seed):
        scene.wait(begun_at + step.at - time.monotonic())
        faults_applied = scene.faults_applied
        FAULTS[step.fault](scene)
        if scene.faults_applied == faults_applied:
            scene.complaints.append(f"the fault {step.fault} had no effect")
    scene.wait(begun_at + scenario.seconds - time.monotonic())
    return since, time.time()


def shortcomings(
    scenario: Scenario, scene: Scene, records: Records, *, publishing: Span, folder: Path
) -> Iterator[str]:
    """Yield every reason why the run tested too little, and every failure that no history shows."""
    closed = [*((one.at, one.until) for one in scene.interruptions), *scene.web_outages, *scene.absences]
    seconds = open_seconds(*publishing, closed)
    yield from quiet_doors(records.published, scenario.rates, seconds=seconds, share=scenario.let_in_least)
    yield from deaf_hooks(records.arrivals, records.hooks)
    yield from silent_spans(records.arrivals, records.hooks, scene.absences)
    yield from idle_kills(scene.interruptions, at_least=scenario.in_hand_at_least)
    yield from rejections(json.loads(line) for line in reading.lines_of(folder / "journal"))
    for log in sorted(folder.glob("worker*.log")):
        yield from worker_crashes(log.stem, log.read_text(errors="replace"), killed=scene.killed)


def come_to_rest(scene: Scene, *, within: float) -> None:
    """Wait until the system is quiescent: nothing pending, in flight, or in the stream.

    If it does not become quiescent, the checker reports it.
    """
    give_up_at = time.monotonic() + within
    while time.monotonic() < give_up_at:
        scene.wait(0.25)
        with suppress(psycopg.Error, RedisError), psycopg.connect(scene.database_url) as connection:
            waiting = connection.execute(UNREST).fetchone()
            with scene.ground.redis() as redis:
                entries = redis.xlen(DEFAULT_STREAM)
            if waiting == (0, 0) and not entries:
                return
    scene.tell(f"    not quiescent after {within:g} s")


def stop_all(scene: Scene) -> None:
    """SIGTERM everything once it is up, as a service manager does; it must end in time and without an error."""
    try:
        wait_until_up(scene)
    except RuntimeError as error:
        scene.complaints.append(str(error))
    # Read the log first: on SIGTERM web processes may end before their parent knows that they are meant to.
    meant = sum(one.name == "web" for one in scene.bereft) + scene.told_to_stop["web"]
    scene.complaints += web_crashes((scene.crew.logs / "web.log").read_text(errors="replace"), meant=meant)
    since = time.time()
    see_to_the_end_of(tell_to_stop(list(scene.crew.processes), scene), scene, since=since)


def gather(scenario: Scenario, scene: Scene, folder: Path) -> Records:
    """Read the three histories, and run ``check_ledger``."""
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

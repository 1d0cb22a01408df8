"""One scenario from its start to its verdict."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path

import psycopg
from redis.exceptions import RedisError

from chaos import pulse, reading
from chaos.faults import FAULTS
from chaos.ground import Ground
from chaos.plans import Scenario, plan
from chaos.processes import see_to_the_end_of
from chaos.records import Records
from chaos.scene import Scene, Tell
from chaos.script import as_json
from chaos.staging import (
    LEASE_SECONDS,
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
from chaos.verdict import Verdict, judge
from hookhub import service
from hookhub.stream_client import DEFAULT_STREAM

# An entry of the stream that a dead worker had in hand is taken over after a lease, at the next look behind.
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
    """Run a scenario on a ground, and judge what was written down meanwhile, which may be kept.

    ``around`` is entered with the scene for as long as the publishers publish.
    """
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
        stack.enter_context(pulse.taken(scene))
        published = helper("chaos.publisher", publisher_plan(scenario, scene, seed, paths), folder=paths)
        with published, around(scene):
            play(scenario, scene, seed=seed)
        begun_at = time.monotonic()
        come_to_rest(scene, within=scenario.rests_within)
        tell(f"    at rest {time.monotonic() - begun_at:.1f} s after the last event")
        stop_all(scene)
        records = gather(scenario, scene, paths)
        (paths / "attempts").write_text("".join(json.dumps(one._asdict()) + "\n" for one in records.attempts))
        verdict = judge(records, scenario=scenario.name, seed=seed, complaints=scene.complaints)
        if verdict.breaches and keep is None and not scenario.bug:
            # What nobody expected may not come again.
            kept = Path(tempfile.mkdtemp(prefix=f"hookhub-chaos-{scenario.name}-{seed}-"))
            shutil.copytree(paths, kept, dirs_exist_ok=True)
            tell(f"  the logs and the records of this are kept in {kept}")
        return verdict


def play(scenario: Scenario, scene: Scene, *, seed: int) -> None:
    """Do what the plan says when it says so, and let the publishers publish for as long as the scenario wants."""
    begun_at = time.monotonic()
    for step in plan(scenario, seed=seed):
        scene.wait(begun_at + step.at - time.monotonic())
        FAULTS[step.fault](scene)
    scene.wait(begun_at + scenario.seconds - time.monotonic())


def come_to_rest(scene: Scene, *, within: float) -> None:
    """Wait until nothing is waiting or being sent any more; what does not come to rest is for the accounting to say."""
    give_up_at = time.monotonic() + within
    while time.monotonic() < give_up_at:
        scene.wait(0.25)
        with suppress(psycopg.Error, RedisError), psycopg.connect(scene.database_url) as connection:
            waiting = connection.execute(UNREST).fetchone()
            with scene.ground.redis() as redis:
                entries = redis.xlen(DEFAULT_STREAM)
            if waiting == (0, 0) and not entries:
                return
    scene.tell(f"    not at rest after {within:g} s")


def stop_all(scene: Scene) -> None:
    """SIGTERM everything, as a service manager does; it must end in time and without an error."""
    since = time.time()
    see_to_the_end_of({name: scene.crew.tell_to_stop(name) for name in list(scene.crew.processes)}, scene, since=since)


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

"""Runs one scenario from setup to verdict."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial
from pathlib import Path

import psycopg
from redis.exceptions import RedisError

from chaos.checkers.report import Verdict, judge
from chaos.checkers.subscriptions import untested_subscriptions
from chaos.checkers.validity import (
    Span,
    crashes,
    idle_kills,
    rejections,
    silent_outages,
    starved_routes,
    undisturbed_seconds,
    unreached_webhooks,
)
from chaos.history import (
    History,
    Seen,
    complete_lines_of,
    lines_of,
    read_attempts,
    read_deliveries,
    read_journal,
    read_log,
    read_notes,
    read_of_subscriptions,
    read_stored,
    read_webhooks,
)
from chaos.nemesis import stall_monitor, web_monitor
from chaos.nemesis.context import RunContext
from chaos.nemesis.faults import FAULTS
from chaos.nemesis.processes import terminate, wait_for_exit, wait_until_up
from chaos.scenarios.scenario import Scenario, plan
from chaos.setup import (
    LEASE_SECONDS,
    TIMEOUT_SECONDS,
    configure,
    folder_for,
    helper,
    make_commits_slow,
    make_webhooks,
    publisher_plan,
    set_up,
    start,
)
from chaos.subscribing import subscriptions
from chaos.workload.behaviour import as_json
from hookhub.embedded import service
from hookhub.stream_client import DEFAULT_STREAM
from testbed.processes import Log, Module, wait_for
from testbed.servers import Servers

# A stream entry pending at a dead worker is claimed by another after a lease, at the next check for stale entries.
STREAM_STORED_WITHIN_SECONDS = LEASE_SECONDS + 15
PROOFS_SETTLE_WITHIN_SECONDS = 5.0
UNFINISHED = """
SELECT (SELECT count(*) FROM hookhub_outbox),
       (SELECT count(*) FROM hookhub_delivery WHERE state IN ('pending', 'sending')),
       (SELECT count(*) FROM hookhub_verification WHERE finished_at IS NULL)
"""


def run(
    scenario: Scenario,
    *,
    seed: int,
    servers: Servers,
    log: Log,
    keep: Path | None = None,
    around: Callable[[RunContext], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Verdict:
    """Run a scenario, check its history, and return the verdict; ``keep`` is where logs and history go.

    ``around`` is entered with the run context for as long as the publishers run.
    """
    with ExitStack() as stack:
        paths = folder_for(scenario, keep, stack)
        context = stack.enter_context(set_up(scenario, seed=seed, servers=servers, folder=paths, log=log))
        of_ours = partial(helper, folder=paths, complaints=context.complaints)
        with of_ours("chaos.workload.receiver", str(paths / "arrivals")) as receiver:
            prepare(scenario, context, receiver, seed=seed)
            stack.enter_context(stall_monitor.watch_for_stalls(context))
            made = stack.enter_context(subscriptions(scenario, context, seed=seed, folder=paths))
            published = of_ours("chaos.workload.publisher", publisher_plan(scenario, context, seed, paths))
            with published, web_monitor.watch_web_server(context), around(context), made.being_made():
                wait_for_the_first_events(scenario, context, paths / "journal")
                publishing = inject_faults(scenario, context, seed=seed)
            begun_at = time.monotonic()
            wait_until_quiescent(context, within=scenario.quiescent_within)
            log(f"    quiescent {time.monotonic() - begun_at:.1f} s after the last event")
            stop_all(context)
        history = read_history(scenario, context, paths, seen=made.all_seen())
        context.complaints += invalid_parts(scenario, context, history, publishing=publishing, folder=paths)
        (paths / "attempts").write_text("".join(json.dumps(one._asdict()) + "\n" for one in history.attempts))
        verdict = judge(history, scenario=scenario.name, seed=seed, complaints=context.complaints)
        if verdict.breaches and keep is None and not scenario.bug:
            # An unexpected violation may not be reproducible.
            kept = Path(tempfile.mkdtemp(prefix=f"hookhub-chaos-{scenario.name}-{seed}-"))
            shutil.copytree(paths, kept, dirs_exist_ok=True)
            log(f"  logs and history are kept in {kept}")
        return verdict


def prepare(scenario: Scenario, context: RunContext, receiver: Module, *, seed: int) -> None:
    """Start everything, create the webhooks, and configure the receiver."""
    receiver_port = int(receiver.read())
    for fault in scenario.before:
        FAULTS[fault](context)
    start(scenario, context)
    secrets = make_webhooks(scenario, context, receiver_port)
    configure(
        receiver, {"secrets": secrets, "script": as_json(scenario.script()), "seed": seed, "begun_at": time.time()}
    )
    if scenario.commit_delay:
        make_commits_slow(context, scenario.commit_delay)


def wait_for_the_first_events(scenario: Scenario, context: RunContext, journal: Path) -> None:
    """Wait until each route has accepted an event: on a busy machine the first answers take seconds."""
    # A scenario that starts without Redis cannot use the stream yet.
    needed = {route for route in scenario.rates if not (scenario.before and route == "stream")}

    def are_accepted() -> bool:
        context.wait(0.1)
        events = read_journal(complete_lines_of(journal))
        return needed <= {event.route for event in events if event.outcome == "acknowledged"}

    wait_for(are_accepted, f"{', '.join(sorted(needed))} to accept an event")


def inject_faults(scenario: Scenario, context: RunContext, *, seed: int) -> Span:
    """Inject the planned faults on time while the publishers run, for as long as the scenario says.

    Returns when that began and ended, and reports each fault that did nothing.
    """
    since, begun_at = time.time(), time.monotonic()
    for step in plan(scenario, seed=seed):
        context.wait(begun_at + step.at - time.monotonic())
        faults_applied = context.faults_applied
        FAULTS[step.fault](context)
        if context.faults_applied == faults_applied:
            context.complaints.append(f"the fault {step.fault} had no effect")
    context.wait(begun_at + scenario.seconds - time.monotonic())
    return since, time.time()


def invalid_parts(
    scenario: Scenario, context: RunContext, history: History, *, publishing: Span, folder: Path
) -> Iterator[str]:
    """Yield every reason why the run tested too little, and every failure that no history shows."""
    closed = [*((one.at, one.until) for one in context.interruptions), *context.web_outages, *context.absences]
    seconds = undisturbed_seconds(*publishing, closed)
    yield from starved_routes(history.published, scenario.rates, seconds=seconds, share=scenario.min_accepted)
    yield from unreached_webhooks(history.arrivals, history.webhooks)
    yield from silent_outages(history.arrivals, history.webhooks, context.absences)
    yield from idle_kills(context.interruptions, at_least=scenario.min_leased)
    if scenario.subscribes:
        yield from untested_subscriptions(history)
    yield from rejections(json.loads(line) for line in lines_of(folder / "journal"))
    for log in [folder / "web.log", *sorted(folder.glob("worker*.log"))]:
        yield from crashes(log.stem, log.read_text(errors="replace"), killed=context.killed)


def wait_until_quiescent(context: RunContext, *, within: float) -> None:
    """Wait until the system is quiescent: nothing pending, in flight, or in the stream.

    If it does not become quiescent, the checker reports it.
    """
    give_up_at = time.monotonic() + within
    while time.monotonic() < give_up_at:
        context.wait(0.25)
        with suppress(psycopg.Error, RedisError), psycopg.connect(context.instance.database_url) as connection:
            waiting = connection.execute(UNFINISHED).fetchone()
            with context.instance.servers.redis() as redis:
                entries = redis.xlen(DEFAULT_STREAM)
            if waiting == (0, 0, 0) and not entries:
                return
    context.log(f"    not quiescent after {within:g} s")


def stop_all(context: RunContext) -> None:
    """SIGTERM everything once it is up, as a service manager does; it must end in time and without an error."""
    try:
        wait_until_up(context)
    except RuntimeError as error:
        context.complaints.append(str(error))
    since = time.time()
    wait_for_exit(terminate(list(context.instance.running), context), context, since=since)


def read_history(scenario: Scenario, context: RunContext, folder: Path, *, seen: Sequence[Seen] = ()) -> History:
    """Read the three histories, and run ``check_ledger``.

    Subscriptions are judged by what their subscribers logged and what was ``seen`` of them, not by their deliveries.
    """
    ledger = []
    try:
        # A proof counts from shortly before its commit, and rule 8 judges what was published meanwhile.
        settling = ("--settling", f"{PROOFS_SETTLE_WITHIN_SECONDS:g}") if scenario.subscribes else ()
        context.instance.check_ledger("--grace", "0", *settling)
    except service.ServiceError as error:
        ledger.append(str(error))
    with psycopg.connect(context.instance.database_url) as connection:
        of_subscriptions = read_of_subscriptions(connection)
        return History(
            published=read_journal(lines_of(folder / "journal")),
            arrivals=read_log(lines_of(folder / "arrivals")),
            stored=read_stored(connection),
            deliveries=[one for one in read_deliveries(connection) if one.id not in of_subscriptions],
            attempts=[one for one in read_attempts(connection) if one.delivery not in of_subscriptions],
            webhooks=read_webhooks(connection, [one.webhook(timeout=TIMEOUT_SECONDS) for one in scenario.subscribers]),
            interruptions=context.interruptions,
            forgotten_at=context.forgotten_at,
            stored_within=STREAM_STORED_WITHIN_SECONDS,
            lease=LEASE_SECONDS,
            ledger=ledger,
            prompt_within=scenario.prompt_within,
            late_allowed=scenario.late_allowed,
            notes=read_notes(lines_of(folder / "subscriptions")),
            seen=seen,
        )

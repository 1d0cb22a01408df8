"""Faults of HookHub's own processes: killed, stopped or paused, at any time or at one failpoint."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from chaos.nemesis.context import NOTHING_LEASED, RunContext
from testbed.processes import is_alive, wait_for, wait_until_dead, with_descendants

# Seconds to wait for a process to reach a failpoint.
FAILPOINT_WITHIN_SECONDS = 60.0
# At these failpoints only a process with leased deliveries is of use; a claim may have found nothing.
WITH_WORK = frozenset({"claimed", "sent", "answered", "half-settled"})

ORPHANS_END_WITHIN_SECONDS = 15
UP_WITHIN_SECONDS = 120
# Seconds that the kernel needs to remove the children that a process has waited for.
GONE_WITHIN_SECONDS = 1.0

# Makes a worker of the harness log the stack of each of its threads.
STACKS_SIGNAL = signal.SIGUSR2
STACKS_WITHIN_SECONDS = 0.3

Fault = Callable[[RunContext], None]


@dataclass(frozen=True)
class Stopped:
    """A process that was sent SIGTERM, with its descendants at that time, itself included."""

    name: str
    process: "subprocess.Popen[bytes]"
    family: list[psutil.Process]


def wait_until_up(context: RunContext) -> None:
    """Wait until every process is up; raise RuntimeError when one does not come up."""
    wait_for(context.is_up, "all processes to be up", seconds=UP_WITHIN_SECONDS)


def kill_child(context: RunContext) -> None:
    """SIGKILL one child of a worker; the children do the sending."""
    wait_until_up(context)
    context.kill([context.rng.choice(children_of_workers(context))], what="a worker's child killed")


def children_of_workers(context: RunContext) -> list[psutil.Process]:
    """Return the living children of all workers."""
    return [child for name in context.workers() for child in context.instance.children_of(name)]


def kill_worker(context: RunContext) -> None:
    """SIGKILL a whole worker, parent and children, one with leased deliveries if there is any."""
    wait_until_up(context)
    name = context.pick_busy_worker()
    context.kill(context.instance.family_of(name), what=f"{name} killed with all its children")


def kill_parent(context: RunContext) -> None:
    """SIGKILL the parent of a worker; its children settle what they have in flight, and end."""
    wait_until_up(context)
    name = context.pick_worker()
    parent, *children = context.instance.family_of(name)
    # Killing the parent must not repeat anything that its children have in flight.
    context.kill([parent], what=f"the parent of {name} killed")
    alive = wait_until_dead(children, seconds=ORPHANS_END_WITHIN_SECONDS)
    if alive:
        context.complaints.append(f"{len(alive)} children of {name} outlived their parent")
        for child in alive:
            child.kill()


def kill_web(context: RunContext) -> None:
    """SIGKILL one process of the web server, or all of them."""
    wait_until_up(context)
    main, *children = context.instance.family_of("web")
    if context.rng.random() < 0.5 and children:
        context.kill([context.rng.choice(children)], what="one web process killed")
    else:
        context.kill([main, *children], what="all web processes killed")


def stop_worker(context: RunContext) -> None:
    """SIGTERM a worker with requests in flight, and start another; this must not repeat a request."""
    wait_until_up(context)
    name = context.pick_worker()
    since = time.time()
    stopped = terminate([name], context)
    context.instance.start(name)
    took = wait_for_exit(stopped, context, since=since)
    context.note(f"{name} stopped within {took:.1f} s", since=since)


def stop_everything(context: RunContext) -> None:
    """SIGTERM everything at once under load, and restart it when all of it has ended."""
    wait_until_up(context)
    since = time.time()
    stopped = terminate(list(context.instance.running), context)
    took = wait_for_exit(stopped, context, since=since)
    for one in stopped:
        context.instance.start(one.name)
    context.web_is_down()
    context.note(f"everything stopped within {took:.1f} s", since=since)


def terminate(names: Iterable[str], context: RunContext) -> list[Stopped]:
    """SIGTERM processes and their children, and return them to be waited for."""
    stopped = []
    for name in names:
        family = context.instance.family_of(name)
        stopped.append(Stopped(name, context.instance.terminate(name), family))
    return stopped


def wait_for_exit(stopped: Sequence[Stopped], context: RunContext, *, since: float) -> float:
    """Wait until all stopped processes have ended, in time and without an error; return the seconds that it took."""
    while time.time() - since < context.stops_within and any(one.process.poll() is None for one in stopped):
        context.wait(0.05)
    took = time.time() - since
    for one in stopped:
        if one.process.poll() is None:
            context.complaints.append(f"{one.name} is still running {took:.1f} s after SIGTERM")
            dump_stacks(psutil.Process(one.process.pid))
            context.kill([psutil.Process(one.process.pid)], what=f"{one.name} killed, because it did not stop")
        elif one.process.returncode:
            context.complaints.append(f"{one.name} exited with {one.process.returncode} after SIGTERM")
    for one in stopped:
        kill_orphans(one, context)
    return took


def kill_orphans(stopped: Stopped, context: RunContext) -> None:
    """Report and kill children that outlived their parent."""
    alive = wait_until_dead(stopped.family, seconds=GONE_WITHIN_SECONDS)
    if alive:
        kinds = ", ".join(kind_of(process) for process in alive)
        context.complaints.append(f"{len(alive)} descendants of {stopped.name} outlived it: {kinds}")
        context.kill(alive, what=f"orphans of {stopped.name} killed")


def dump_stacks(process: psutil.Process) -> None:
    """Make a worker and its children log the stack of each of their threads."""
    for one in with_descendants(process):
        # The signal would kill a process without a handler for it.
        if kind_of(one) == "worker":
            with suppress(psutil.NoSuchProcess):
                one.send_signal(STACKS_SIGNAL)
            # One after another, because all write to the same log.
            time.sleep(STACKS_WITHIN_SECONDS)


def pause_child(context: RunContext) -> None:
    """SIGSTOP a worker's child for longer than its leases, and resume it."""
    wait_until_up(context)
    pause(context.rng.choice(children_of_workers(context)), context, what="a worker's child paused beyond its leases")


def pause(process: psutil.Process, context: RunContext, *, what: str) -> None:
    """SIGSTOP a process for longer than its leases, and resume it."""
    since = time.time()
    halted = context.halt([process])
    if not halted:
        context.complaints.append(f"{what}: the process was not running")
        return
    leased = context.leased({process.pid})
    context.wait(context.lease + 2)
    if not is_alive(process):
        context.complaints.append(f"{what}: the process died while it was paused")
    for one in halted:
        with suppress(psutil.NoSuchProcess):
            one.resume()
    context.note(what, since=since, leased=leased)


def halted_at(context: RunContext, point: str) -> psutil.Process | None:
    """Make the next suitable process that reaches a failpoint halt there; return it, or None when none comes.

    A process that never comes is reported as a problem.
    """
    give_up_at = time.monotonic() + FAILPOINT_WITHIN_SECONDS
    while (process := _next_at(context, point, give_up_at=give_up_at)) and point in WITH_WORK:
        # Only a process that has stopped can be resumed, and by then its leases are in the database.
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED, f"a process to halt at {point}", seconds=5)
        if context.leased({process.pid}) != NOTHING_LEASED:
            break
        process.resume()
    return process


def _next_at(context: RunContext, point: str, *, give_up_at: float) -> psutil.Process | None:
    """Return the next process that reaches a failpoint; report a problem and return None when none comes in time."""
    request = context.failpoint_dir / point
    request.touch()
    while request.exists():
        if time.monotonic() > give_up_at:
            # Withdraw the request, unless a process has just taken it.
            with suppress(FileNotFoundError):
                request.unlink()
                context.complaints.append(f"no process reached {point} within {FAILPOINT_WITHIN_SECONDS:g} s")
                return None
        context.restart_ended()
        time.sleep(0.002)
    [taken] = context.failpoint_dir.glob(f"{point}.*")
    taken.unlink()
    return psutil.Process(int(taken.suffix[1:]))


def kill_at(point: str) -> Fault:
    """Return a fault that kills a process at a failpoint."""

    def fault(context: RunContext) -> None:
        process = halted_at(context, point)
        if process is not None:
            context.kill([process], what=f"killed at {point}: {kind_of(process)}")

    return fault


def pause_at(point: str) -> Fault:
    """Return a fault that pauses a process at a failpoint for longer than its leases."""

    def fault(context: RunContext) -> None:
        process = halted_at(context, point)
        if process is not None:
            pause(process, context, what=f"paused at {point}")

    return fault


def kind_of(process: psutil.Process) -> str:
    """Return the kind of a process according to its command line: web, drain, worker, or gone."""
    with suppress(psutil.NoSuchProcess):
        words = " ".join(process.cmdline())
        return "web" if "hookhub.server" in words else "drain" if " drain" in words else "worker"
    return "gone"

"""Faults of HookHub's own processes: killed, stopped or paused, at any time or at one failpoint."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from bench.stage import wait_for
from chaos.nemesis.context import NOBODY, Scene
from testbed.processes import is_alive, wait_until_dead

# Seconds to wait for a process to reach a failpoint.
ORDER_WAITS_SECONDS = 60.0
# At these failpoints only a process with leased deliveries is of use; a claim may have found nothing.
WITH_WORK = frozenset({"claimed", "sent", "answered", "half-settled"})

ORPHANS_END_WITHIN_SECONDS = 15
UP_WITHIN_SECONDS = 120
# Seconds that the kernel needs to remove the children that a process has waited for.
GONE_WITHIN_SECONDS = 1.0

# Makes a worker of the harness log the stack of each of its threads.
WHERE_SIGNAL = signal.SIGUSR2
TO_WRITE_SECONDS = 0.3

Fault = Callable[[Scene], None]


@dataclass(frozen=True)
class Told:
    """A process that was sent SIGTERM, with its descendants at that time, itself included."""

    name: str
    process: "subprocess.Popen[bytes]"
    family: list[psutil.Process]


def wait_until_up(scene: Scene) -> None:
    """Wait until every process is up; raise RuntimeError when one does not come up."""
    wait_for(scene.is_up, "all processes to be up", seconds=UP_WITHIN_SECONDS)


def kill_child(scene: Scene) -> None:
    """SIGKILL one child of a worker; the children do the sending."""
    wait_until_up(scene)
    scene.kill([scene.chance.choice(children_of_workers(scene))], what="a worker's child killed")


def children_of_workers(scene: Scene) -> list[psutil.Process]:
    """Return the living children of all workers."""
    return [child for name in scene.workers() for child in scene.crew.children_of(name)]


def kill_worker(scene: Scene) -> None:
    """SIGKILL a whole worker, parent and children, one with leased deliveries if there is any."""
    wait_until_up(scene)
    name = scene.busy_victim()
    parent = psutil.Process(scene.crew.processes[name].pid)
    scene.kill([parent, *parent.children(recursive=True)], what=f"{name} killed with all its children")


def kill_parent(scene: Scene) -> None:
    """SIGKILL the parent of a worker; its children settle what they have in flight, and end."""
    wait_until_up(scene)
    name = scene.victim()
    parent = psutil.Process(scene.crew.processes[name].pid)
    children = parent.children(recursive=True)
    # Killing the parent must not repeat anything that its children have in flight.
    scene.kill([parent], what=f"the parent of {name} killed")
    alive = wait_until_dead(children, seconds=ORPHANS_END_WITHIN_SECONDS)
    if alive:
        scene.complaints.append(f"{len(alive)} children of {name} outlived their parent")
        for child in alive:
            child.kill()


def kill_web(scene: Scene) -> None:
    """SIGKILL one process of the web server, or all of them."""
    wait_until_up(scene)
    main = psutil.Process(scene.crew.processes["web"].pid)
    children = main.children(recursive=True)
    if scene.chance.random() < 0.5 and children:
        scene.kill([scene.chance.choice(children)], what="one web process killed")
    else:
        scene.kill([main, *children], what="all web processes killed")


def stop_worker(scene: Scene) -> None:
    """SIGTERM a worker with requests in flight, and start another; this must not repeat a request."""
    wait_until_up(scene)
    name = scene.victim()
    since = time.time()
    told = tell_to_stop([name], scene)
    scene.crew.start(name)
    took = see_to_the_end_of(told, scene, since=since)
    scene.note(f"{name} stopped within {took:.1f} s", since=since)


def stop_everything(scene: Scene) -> None:
    """SIGTERM everything at once under load, and restart it when all of it has ended."""
    wait_until_up(scene)
    since = time.time()
    told = tell_to_stop(list(scene.crew.processes), scene)
    took = see_to_the_end_of(told, scene, since=since)
    for one in told:
        scene.crew.start(one.name)
    scene.web_goes_down()
    scene.note(f"everything stopped within {took:.1f} s", since=since)


def tell_to_stop(names: Iterable[str], scene: Scene) -> list[Told]:
    """SIGTERM processes and their children, and return them to be waited for."""
    told = []
    for name in names:
        family = scene.crew.family_of(name)
        told.append(Told(name, scene.crew.tell_to_stop(name), family))
        scene.told_to_stop[name] += 1
    return told


def see_to_the_end_of(told: Sequence[Told], scene: Scene, *, since: float) -> float:
    """Wait until all stopped processes have ended, in time and without an error; return the seconds that it took."""
    while time.time() - since < scene.stops_within and any(one.process.poll() is None for one in told):
        scene.wait(0.05)
    took = time.time() - since
    for one in told:
        if one.process.poll() is None:
            scene.complaints.append(f"{one.name} is still running {took:.1f} s after SIGTERM")
            ask_where_it_is(psutil.Process(one.process.pid))
            scene.kill([psutil.Process(one.process.pid)], what=f"{one.name} killed, because it did not stop")
        elif one.process.returncode:
            scene.complaints.append(f"{one.name} exited with {one.process.returncode} after SIGTERM")
    for one in told:
        end_the_left_behind(one, scene)
    return took


def end_the_left_behind(told: Told, scene: Scene) -> None:
    """Report and kill children that outlived their parent."""
    alive = wait_until_dead(told.family, seconds=GONE_WITHIN_SECONDS)
    if alive:
        kinds = ", ".join(kind_of(process) for process in alive)
        scene.complaints.append(f"{len(alive)} descendants of {told.name} outlived it: {kinds}")
        scene.kill(alive, what=f"orphans of {told.name} killed")


def ask_where_it_is(process: psutil.Process) -> None:
    """Make a worker and its children log the stack of each of their threads."""
    for one in (process, *process.children(recursive=True)):
        # The signal would kill a process without a handler for it.
        if kind_of(one) == "worker":
            with suppress(psutil.NoSuchProcess):
                one.send_signal(WHERE_SIGNAL)
            # One after another, because all write to the same log.
            time.sleep(TO_WRITE_SECONDS)


def hold_up_child(scene: Scene) -> None:
    """SIGSTOP a worker's child for longer than its leases, and resume it."""
    wait_until_up(scene)
    hold_up(scene.chance.choice(children_of_workers(scene)), scene, what="a worker's child paused beyond its leases")


def hold_up(process: psutil.Process, scene: Scene, *, what: str) -> None:
    """SIGSTOP a process for longer than its leases, and resume it."""
    since = time.time()
    halted = scene.halt([process])
    if not halted:
        scene.complaints.append(f"{what}: the process was not running")
        return
    in_hand = scene.in_hand({process.pid})
    scene.wait(scene.lease + 2)
    if not is_alive(process):
        scene.complaints.append(f"{what}: the process died while it was paused")
    for one in halted:
        with suppress(psutil.NoSuchProcess):
            one.resume()
    scene.note(what, since=since, in_hand=in_hand)


def halted_at(scene: Scene, point: str) -> psutil.Process | None:
    """Make the next suitable process that reaches a failpoint halt there; return it, or None when none comes.

    A process that never comes is reported as a problem.
    """
    give_up_at = time.monotonic() + ORDER_WAITS_SECONDS
    while (process := _next_at(scene, point, give_up_at=give_up_at)) and point in WITH_WORK:
        # Only a process that has stopped can be resumed, and by then its leases are in the database.
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED, f"a process to halt at {point}", seconds=5)
        if scene.in_hand({process.pid}) != NOBODY:
            break
        process.resume()
    return process


def _next_at(scene: Scene, point: str, *, give_up_at: float) -> psutil.Process | None:
    """Return the next process that reaches a failpoint; report a problem and return None when none comes in time."""
    order = scene.orders / point
    order.touch()
    while order.exists():
        if time.monotonic() > give_up_at:
            # Withdraw the request, unless a process has just taken it.
            with suppress(FileNotFoundError):
                order.unlink()
                scene.complaints.append(f"no process reached {point} within {ORDER_WAITS_SECONDS:g} s")
                return None
        scene.tend()
        time.sleep(0.002)
    [taken] = scene.orders.glob(f"{point}.*")
    taken.unlink()
    return psutil.Process(int(taken.suffix[1:]))


def kill_at(point: str) -> Fault:
    """Return a fault that kills a process at a failpoint."""

    def fault(scene: Scene) -> None:
        process = halted_at(scene, point)
        if process is not None:
            scene.kill([process], what=f"killed at {point}: {kind_of(process)}")

    return fault


def hold_up_at(point: str) -> Fault:
    """Return a fault that pauses a process at a failpoint for longer than its leases."""

    def fault(scene: Scene) -> None:
        process = halted_at(scene, point)
        if process is not None:
            hold_up(process, scene, what=f"paused at {point}")

    return fault


def kind_of(process: psutil.Process) -> str:
    """Return the kind of a process according to its command line: web, drain, worker, or gone."""
    with suppress(psutil.NoSuchProcess):
        words = " ".join(process.cmdline())
        return "web" if "granian" in words else "drain" if " drain" in words else "worker"
    return "gone"

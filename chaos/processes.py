"""Faults of HookHub's own processes: killed, told to stop, held up, anywhere or at one failpoint."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from bench.stage import wait_for
from chaos.crew import is_alive, wait_until_dead
from chaos.scene import NOBODY, Scene

# For how long an order to halt waits for a process to come by.
ORDER_WAITS_SECONDS = 60.0
# Where whoever comes by has something in hand, or is of no use; one may come to "claimed" having found nothing.
WITH_WORK = frozenset({"claimed", "sent", "answered", "half-settled"})

ORPHANS_END_WITHIN_SECONDS = 15
UP_WITHIN_SECONDS = 120
# What the kernel needs to be rid of the children of a process that has waited for them.
GONE_WITHIN_SECONDS = 1.0

# Has a worker of the harness write down where it is.
WHERE_SIGNAL = signal.SIGUSR2
TO_WRITE_SECONDS = 0.3

Fault = Callable[[Scene], None]


@dataclass(frozen=True)
class Told:
    """A process that was told to stop, with its family as it was then, itself included."""

    name: str
    process: "subprocess.Popen[bytes]"
    family: list[psutil.Process]


def wait_until_up(scene: Scene) -> None:
    """Wait until there is something to be damaged; raises RuntimeError when it does not come up."""
    wait_for(scene.is_up, "everything to be up", seconds=UP_WITHIN_SECONDS)


def kill_child(scene: Scene) -> None:
    """SIGKILL one of the worker's children, which do the sending."""
    wait_until_up(scene)
    scene.kill([scene.chance.choice(children_of_workers(scene))], what="a worker's child killed")


def children_of_workers(scene: Scene) -> list[psutil.Process]:
    """Give the living children of all workers."""
    return [child for name in scene.workers() for child in scene.crew.children_of(name)]


def kill_worker(scene: Scene) -> None:
    """SIGKILL a whole worker, parent and children, one with work in hand if there is any."""
    wait_until_up(scene)
    name = scene.busy_victim()
    parent = psutil.Process(scene.crew.processes[name].pid)
    scene.kill([parent, *parent.children(recursive=True)], what=f"{name} killed with all its children")


def kill_parent(scene: Scene) -> None:
    """SIGKILL a worker's parent alone; its children settle what they have in flight, and end."""
    wait_until_up(scene)
    name = scene.victim()
    parent = psutil.Process(scene.crew.processes[name].pid)
    children = parent.children(recursive=True)
    # Nothing that the children have in hand may be sent twice for it.
    scene.kill([parent], what=f"the parent of {name} killed")
    alive = wait_until_dead(children, seconds=ORPHANS_END_WITHIN_SECONDS)
    if alive:
        scene.complaints.append(f"{len(alive)} children of {name} outlive their parent")
        for child in alive:
            child.kill()


def kill_web(scene: Scene) -> None:
    """SIGKILL a process of the web server, or all of it."""
    wait_until_up(scene)
    main = psutil.Process(scene.crew.processes["web"].pid)
    children = main.children(recursive=True)
    if scene.chance.random() < 0.5 and children:
        scene.kill([scene.chance.choice(children)], what="a process of the web server killed")
    else:
        scene.kill([main, *children], what="the web server killed")


def stop_worker(scene: Scene) -> None:
    """SIGTERM a worker with work in flight, and start another; nothing may be sent twice because of it."""
    wait_until_up(scene)
    name = scene.victim()
    since = time.time()
    told = tell_to_stop([name], scene)
    scene.crew.start(name)
    took = see_to_the_end_of(told, scene, since=since)
    scene.note(f"{name} told to stop, which took {took:.1f} s", since=since)


def stop_everything(scene: Scene) -> None:
    """SIGTERM everything at once under load, and start it again when all of it has ended."""
    wait_until_up(scene)
    since = time.time()
    told = tell_to_stop(list(scene.crew.processes), scene)
    took = see_to_the_end_of(told, scene, since=since)
    for one in told:
        scene.crew.start(one.name)
    scene.web_goes_down()
    scene.note(f"everything told to stop, which took {took:.1f} s", since=since)


def tell_to_stop(names: Iterable[str], scene: Scene) -> list[Told]:
    """SIGTERM processes of the crew with their children, and give them to be waited for."""
    told = []
    for name in names:
        family = scene.crew.family_of(name)
        told.append(Told(name, scene.crew.tell_to_stop(name), family))
        scene.told_to_stop[name] += 1
    return told


def see_to_the_end_of(told: Sequence[Told], scene: Scene, *, since: float) -> float:
    """Wait until all that was told to stop has ended, in time and without an error; give the seconds that it took."""
    while time.time() - since < scene.stops_within and any(one.process.poll() is None for one in told):
        scene.wait(0.05)
    took = time.time() - since
    for one in told:
        if one.process.poll() is None:
            scene.complaints.append(f"{one.name} was told to stop and lives {took:.1f} s later")
            ask_where_it_is(psutil.Process(one.process.pid))
            scene.kill([psutil.Process(one.process.pid)], what=f"{one.name}, which did not stop, killed")
        elif one.process.returncode:
            scene.complaints.append(f"{one.name} was told to stop and ended with {one.process.returncode}")
    for one in told:
        end_the_left_behind(one, scene)
    return took


def end_the_left_behind(told: Told, scene: Scene) -> None:
    """Complain of whoever of a family has outlived the one that was to wait for him, and kill him."""
    alive = wait_until_dead(told.family, seconds=GONE_WITHIN_SECONDS)
    if alive:
        kinds = ", ".join(kind_of(process) for process in alive)
        scene.complaints.append(f"{len(alive)} of {told.name}'s family outlive it: {kinds}")
        scene.kill(alive, what=f"what {told.name} left behind killed")


def ask_where_it_is(process: psutil.Process) -> None:
    """Have a worker and its children write into their log what each of their threads is at."""
    for one in (process, *process.children(recursive=True)):
        # Whoever is not prepared for the signal would die of it.
        if kind_of(one) == "worker":
            with suppress(psutil.NoSuchProcess):
                one.send_signal(WHERE_SIGNAL)
            # One after another: it is the same log.
            time.sleep(TO_WRITE_SECONDS)


def hold_up_child(scene: Scene) -> None:
    """Halt a worker's child for longer than its leases, and let it go on."""
    wait_until_up(scene)
    hold_up(scene.chance.choice(children_of_workers(scene)), scene, what="a worker's child held up beyond its leases")


def hold_up(process: psutil.Process, scene: Scene, *, what: str) -> None:
    """Halt a process for longer than its leases, and let it go on."""
    since = time.time()
    halted = scene.halt([process])
    if not halted:
        scene.complaints.append(f"{what}: it did not live")
        return
    in_hand = scene.in_hand({process.pid})
    scene.wait(scene.lease + 2)
    if not is_alive(process):
        scene.complaints.append(f"{what}: it did not live on")
    for one in halted:
        with suppress(psutil.NoSuchProcess):
            one.resume()
    scene.note(what, since=since, in_hand=in_hand)


def halted_at(scene: Scene, point: str) -> psutil.Process | None:
    """Order the next process of use that comes to a failpoint to halt there; give it, or complain when none comes."""
    give_up_at = time.monotonic() + ORDER_WAITS_SECONDS
    while (process := _next_at(scene, point, give_up_at=give_up_at)) and point in WITH_WORK:
        # Before it stands still it cannot be told to go on, and what it has in hand it has by now.
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED, f"a process to halt at {point}", seconds=5)
        if scene.in_hand({process.pid}) != NOBODY:
            break
        process.resume()
    return process


def _next_at(scene: Scene, point: str, *, give_up_at: float) -> psutil.Process | None:
    """Give the next process that comes to a failpoint, or complain when none has come in time."""
    order = scene.orders / point
    order.touch()
    while order.exists():
        if time.monotonic() > give_up_at:
            # Taken back, unless somebody is quicker.
            with suppress(FileNotFoundError):
                order.unlink()
                scene.complaints.append(f"nobody came to {point} in {ORDER_WAITS_SECONDS:g} s")
                return None
        scene.tend()
        time.sleep(0.002)
    [taken] = scene.orders.glob(f"{point}.*")
    taken.unlink()
    return psutil.Process(int(taken.suffix[1:]))


def kill_at(point: str) -> Fault:
    """Make the fault that kills whoever comes to a failpoint, there."""

    def fault(scene: Scene) -> None:
        process = halted_at(scene, point)
        if process is not None:
            scene.kill([process], what=f"killed at {point}: {kind_of(process)}")

    return fault


def hold_up_at(point: str) -> Fault:
    """Make the fault that holds up whoever comes to a failpoint for longer than its leases."""

    def fault(scene: Scene) -> None:
        process = halted_at(scene, point)
        if process is not None:
            hold_up(process, scene, what=f"held up at {point}")

    return fault


def kind_of(process: psutil.Process) -> str:
    """Say what kind of process it is, from its command line."""
    with suppress(psutil.NoSuchProcess):
        words = " ".join(process.cmdline())
        return "web" if "granian" in words else "drain" if " drain" in words else "worker"
    return "gone"

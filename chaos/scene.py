"""What a fault acts upon: the crew and its servers, and the book that is kept of what was done to them."""

import random
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psutil
import psycopg

from chaos.crew import Crew, is_alive
from chaos.ground import Ground
from chaos.proxy import Proxy
from chaos.records import Interruption, Kind
from hookhub import service

# What a halted process had asked of the database before is done by then.
TO_COME_TO_REST_SECONDS = 0.15
# Beyond an outage: how long an answered request waits to be settled at most, with the tries half a second apart.
SETTLED_WITHIN_SECONDS = 2.5
DIES_WITHIN_SECONDS = 10
NOBODY: frozenset[str] = frozenset()

Tell = Callable[[str], None]


@dataclass
class Scene:
    """One scenario while it is on; all times are in seconds, ``lease`` is that of its settings."""

    ground: Ground
    crew: Crew
    database_url: str
    lease: float
    # What is told to stop has to have ended by then.
    stops_within: float
    proxies: dict[str, Proxy]
    orders: Path
    chance: random.Random
    tell: Tell
    spared: tuple[str, ...] = ()
    # While a fault keeps PostgreSQL from answering.
    is_at_the_database: bool = False
    interruptions: list[Interruption] = field(default_factory=list)
    forgotten_at: list[float] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    # What is set up late and has to go in the end.
    stack: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """End what is left of the scene."""
        self.stack.close()

    def victim(self) -> str:
        """Draw a worker that may be killed or stopped as a whole."""
        return self.chance.choice([name for name in self.workers() if name not in self.spared])

    def wait(self, seconds: float) -> None:
        """Let time pass, and start again whatever ends by itself meanwhile."""
        give_up_at = time.monotonic() + seconds
        while (left := give_up_at - time.monotonic()) > 0:
            self.tend()
            time.sleep(min(0.05, left))

    def tend(self) -> None:
        """Start again what has ended by itself, as a service manager does."""
        for name in self.crew.tend():
            self.tell(f"    {name} had ended, and is started again")

    def is_up(self) -> bool:
        """Tell whether the web server answers and every worker has its children."""
        self.tend()
        return service.is_ready(self.url) and all(self.crew.children_of(name) for name in self.workers())

    @property
    def url(self) -> str:
        """The web server's own address."""
        return f"http://127.0.0.1:{self.crew.environment['PORT']}"

    def workers(self) -> list[str]:
        """Give the names of the workers that are up."""
        return sorted(name for name in self.crew.processes if name.startswith("worker"))

    def note(
        self,
        what: str,
        *,
        since: float,
        in_hand: frozenset[str] | None = NOBODY,
        is_kill: bool = False,
        kind: Kind = "process",
    ) -> None:
        """Enter into the book what was done from ``since`` until now."""
        self.interruptions.append(Interruption(what, since, time.time(), in_hand, is_kill, kind))
        held = "" if not in_hand else f", {len(in_hand)} in hand"
        self.tell(f"    {what}{held}")

    def note_outage(self, what: str, *, since: float) -> None:
        """Enter an outage of the database; results in hand are kept meanwhile, but not for longer than their leases."""
        is_short = time.time() - since < self.lease - SETTLED_WITHIN_SECONDS
        self.note(what, since=since, in_hand=NOBODY if is_short else None, kind="database")

    def is_stalled_on_purpose(self, since: float) -> bool:
        """Tell whether something that was done to the database explains why it did not answer from then on."""
        return self.is_at_the_database or any(
            one.kind == "database" and one.until >= since for one in self.interruptions
        )

    def halt(self, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
        """SIGSTOP processes, and give those that lived."""
        halted = []
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
                halted.append(process)
        time.sleep(TO_COME_TO_REST_SECONDS)
        return [process for process in halted if is_alive(process)]

    def kill(self, processes: Iterable[psutil.Process], *, what: str, since: float | None = None) -> None:
        """SIGKILL processes, and enter what exactly they had in hand.

        ``since`` is when they were kept from going on, if that was before.
        """
        since = since or time.time()
        victims = list(processes)
        halted = self.halt(victims)
        if not halted:
            return
        in_hand = self.in_hand({process.pid for process in halted})
        for process in victims:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        give_up_at = time.monotonic() + DIES_WITHIN_SECONDS
        while any(is_alive(process) for process in victims) and time.monotonic() < give_up_at:
            time.sleep(0.005)
        self.note(what, since=since, in_hand=in_hand, is_kill=True)

    def in_hand(self, pids: set[int]) -> frozenset[str] | None:
        """Give the deliveries that processes have leases on, or None when the database does not say."""
        try:
            with psycopg.connect(self.database_url, connect_timeout=2, autocommit=True) as connection:
                connection.execute("SET statement_timeout = 2000")
                rows = connection.execute(
                    "SELECT id, lease FROM deliveries_delivery WHERE state = 'sending'"
                ).fetchall()
        except psycopg.Error:
            return None
        return frozenset(str(delivery) for delivery, lease in rows if holder_of(lease) in pids)


def holder_of(lease: UUID) -> int:
    """Give the process that a lease names in its third quarter."""
    return int.from_bytes(lease.bytes[8:12])

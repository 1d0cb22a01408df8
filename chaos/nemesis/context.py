"""The run context on which faults act: processes, servers, and the record of the faults injected."""

import random
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psutil
import psycopg

from chaos.history import Interruption, Kind
from testbed.instance import Instance
from testbed.processes import Log, is_alive, kill_all
from testbed.proxy import Proxy

# Seconds after which a query that a halted process had sent is finished.
QUIET_AFTER_SECONDS = 0.15
# Seconds beyond an outage within which an answered request is settled; retries are half a second apart.
SETTLED_WITHIN_SECONDS = 2.5
NOTHING_LEASED: frozenset[str] = frozenset()


@dataclass
class RunContext:
    """The context of a running scenario; all times are in seconds, ``lease`` is that of its settings."""

    instance: Instance
    lease: float
    # A stopped process must end within this time.
    stops_within: float
    proxies: dict[str, Proxy]
    failpoint_dir: Path
    rng: random.Random
    log: Log
    protected: tuple[str, ...] = ()
    # True while a fault keeps PostgreSQL from answering.
    is_stalling_postgres: bool = False
    interruptions: list[Interruption] = field(default_factory=list)
    forgotten_at: list[float] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    # When the web server was down because of a fault, since when it is down, and when another server was missing from
    # the start.
    web_outages: list[tuple[float, float]] = field(default_factory=list)
    web_is_down_since: float | None = None
    absences: list[tuple[float, float]] = field(default_factory=list)
    # The number of faults that were applied.
    faults_applied: int = 0
    # Processes whose end is expected.
    killed: set[int] = field(default_factory=set)

    # What is set up late and must be closed at the end.
    stack: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Close what was set up late."""
        self.stack.close()

    def pick_worker(self) -> str:
        """Pick a worker that may be killed or stopped as a whole."""
        return self.rng.choice([name for name in self.workers() if name not in self.protected])

    def wait(self, seconds: float) -> None:
        """Sleep, restarting processes that end meanwhile."""
        give_up_at = time.monotonic() + seconds
        while (left := give_up_at - time.monotonic()) > 0:
            self.restart_ended()
            time.sleep(min(0.05, left))

    def pick_busy_worker(self) -> str:
        """Pick a worker that may be killed, preferably one with leased deliveries."""
        names = [name for name in self.workers() if name not in self.protected]
        busy = [name for name in names if self.leased({one.pid for one in self.instance.family_of(name)})]
        return self.rng.choice(busy or names)

    def restart_ended(self) -> None:
        """Restart ended processes, as a service manager does, and report those that had no reason to end."""
        for ended in self.instance.restart_ended():
            self.log(f"    {ended.name} ended; restarting it")
            if ended.pid not in self.killed:
                self.complaints.append(f"{ended.name} exited unexpectedly with {ended.code}")
            if ended.name == "web":
                self.web_is_down()

    def is_up(self) -> bool:
        """Return whether the web server answers and every worker has children."""
        self.restart_ended()
        return self.instance.is_ready() and all(self.instance.children_of(name) for name in self.workers())

    def web_is_down(self) -> None:
        """Record that the web server is down: it was killed, lost a process, or is starting."""
        self.web_is_down_since = self.web_is_down_since or time.time()

    def web_is_back(self, at: float) -> None:
        """Record the end of the web server's outage, if there was one."""
        if self.web_is_down_since is not None:
            self.web_outages.append((self.web_is_down_since, at))
            self.web_is_down_since = None

    def workers(self) -> list[str]:
        """Return the names of the running workers."""
        return sorted(name for name in self.instance.running if name.startswith("worker"))

    def note(
        self,
        what: str,
        *,
        since: float,
        leased: frozenset[str] | None = NOTHING_LEASED,
        is_kill: bool = False,
        kind: Kind = "process",
    ) -> None:
        """Record an interruption from ``since`` until now, injected or of the machine itself."""
        self.interruptions.append(Interruption(what, since, time.time(), leased, is_kill, kind))
        self.faults_applied += kind != "machine"
        held = "" if not leased else f", {len(leased)} leased"
        self.log(f"    {what}{held}")

    def note_outage(self, what: str, *, since: float) -> None:
        """Record an outage of the database; workers keep results during it, but not for longer than their leases."""
        is_short = time.time() - since < self.lease - SETTLED_WITHIN_SECONDS
        self.note(what, since=since, leased=NOTHING_LEASED if is_short else None, kind="database")

    def is_stalled_on_purpose(self, since: float) -> bool:
        """Return whether an injected fault explains why the database did not answer since then."""
        return self.is_stalling_postgres or any(
            one.kind == "database" and one.until >= since for one in self.interruptions
        )

    def halt(self, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
        """SIGSTOP processes; return those that were alive."""
        halted = []
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
                halted.append(process)
        time.sleep(QUIET_AFTER_SECONDS)
        return [process for process in halted if is_alive(process)]

    def kill(self, processes: Iterable[psutil.Process], *, what: str) -> None:
        """SIGKILL processes, and record exactly which deliveries they had leased."""
        since = time.time()
        victims = list(processes)
        halted = self.halt(victims)
        if not halted:
            self.complaints.append(f"{what}: none of the processes was running")
            return
        self.killed |= {process.pid for process in victims}
        affected = self._with_parents(victims)
        leased = self.leased({process.pid for process in halted})
        kill_all(victims)
        web = self.instance.running.get("web")
        if web is not None and web.pid in affected:
            self.web_is_down()
        self.note(what, since=since, leased=leased, is_kill=True)

    def _with_parents(self, victims: Sequence[psutil.Process]) -> set[int]:
        """Return the process ids of processes and of their parents."""
        found = {process.pid for process in victims}
        for process in victims:
            with suppress(psutil.NoSuchProcess):
                found.add(process.ppid())
        return found

    def leased(self, pids: set[int]) -> frozenset[str] | None:
        """Return the deliveries leased to processes, or None when the database does not answer."""
        try:
            with psycopg.connect(self.instance.database_url, connect_timeout=2, autocommit=True) as connection:
                connection.execute("SET statement_timeout = 2000")
                rows = connection.execute("SELECT id, lease FROM hookhub_delivery WHERE state = 'sending'").fetchall()
        except psycopg.Error:
            return None
        return frozenset(str(delivery) for delivery, lease in rows if lease_pid(lease) in pids)


def lease_pid(lease: UUID) -> int:
    """Return the process id that a lease contains in its third quarter."""
    return int.from_bytes(lease.bytes[8:12])

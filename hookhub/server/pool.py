"""A bounded thread pool with a bounded fair queue: round-robin over client addresses, then over callers at each."""

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, NamedTuple, TypeVar

log = logging.getLogger("hookhub.http")

# Jobs handed to the threads beyond their number, so that no thread waits for the event loop between two jobs.
AHEAD = 1


Item = TypeVar("Item")


class Job(NamedTuple):
    """A call to make in a thread, and the future for its result."""

    call: Callable[[], Any]
    done: "asyncio.Future[Any]"


class Turn(NamedTuple):
    """What a waiting request is queued under: its client's address, and its credentials, which are not yet verified."""

    address: str
    caller: str = ""


class Full(Exception):
    """The queue is full; raised for the newest job of the busiest caller at the busiest address."""


class FairQueue(Generic[Item]):
    """Jobs that wait for their turn, at most ``limit``, taken round-robin.

    Behind a proxy that does not forward client addresses many tenants share one address, so the callers at an address
    take turns too. They are the inner ring, because a client can invent any number of credentials but has only one
    address.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._rings: OrderedDict[str, OrderedDict[str, deque[Item]]] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many jobs are waiting."""
        return self._counts.total()

    def add(self, job: Item, turn: Turn) -> Item | None:
        """Add a job; if that exceeds the limit, remove one, possibly the same, and return it."""
        self._rings.setdefault(turn.address, OrderedDict()).setdefault(turn.caller, deque()).append(job)
        self._counts[turn.address] += 1
        return self._evict(newest=turn) if self._counts.total() > self._limit else None

    def take(self) -> Item:
        """Return the oldest job of the caller whose turn it is, at the address whose turn it is."""
        address, ring = self._rings.popitem(last=False)
        caller, queue = ring.popitem(last=False)
        job = queue.popleft()
        if queue:
            ring[caller] = queue
        if ring:
            self._rings[address] = ring
        self._count_off(address)
        return job

    def _evict(self, *, newest: Turn) -> Item:
        """Remove and return the newest job of the caller with the most jobs, at the address with the most jobs."""
        # Ties go to the address and the caller of the newest job, or else to those whose turn is last.
        address = max(reversed(self._rings), key=lambda one: (self._counts[one], one == newest.address))
        ring = self._rings[address]
        caller = max(reversed(ring), key=lambda one: (len(ring[one]), Turn(address, one) == newest))
        job = ring[caller].pop()
        if not ring[caller]:
            del ring[caller]
        if not ring:
            del self._rings[address]
        self._count_off(address)
        return job

    def _count_off(self, address: str) -> None:
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]


class Pool:
    """Threads that make calls. Use it from the event loop's thread only: its methods need no lock."""

    def __init__(self, *, threads: int, max_waiting: int) -> None:
        self._threads = threads
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._waiting: FairQueue[Job] = FairQueue(limit=max_waiting)
        self._handed_out = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, call: Callable[[], Any], *, turn: Callable[[], Turn]) -> "asyncio.Future[Any]":
        """Return the future result of a call; it raises Full if the queue is full or the job is removed from it.

        ``turn`` is called only if the job has to wait.
        """
        loop = self._started()
        job = Job(call, loop.create_future())
        if self._handed_out < self._threads + AHEAD:
            self._hand_out(job)
        else:
            evicted = self._waiting.add(job, turn())
            if evicted is not None and not evicted.done.done():
                evicted.done.set_exception(Full())
        return job.done

    def close(self) -> None:
        """Stop the threads once they have made the calls already handed to them."""
        if self._loop is not None:
            for _ in range(self._threads):
                self._jobs.put(None)
            self._loop = None

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for number in range(self._threads):
                # A daemon, because a process must be able to exit while its database does not respond.
                Thread(target=self._work, args=(self._loop,), name=f"request-{number}", daemon=True).start()
        return self._loop

    def _hand_out(self, job: Job) -> None:
        self._handed_out += 1
        self._jobs.put(job)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                result, error = job.call(), None
            except BaseException as raised:  # noqa: BLE001 - it is handed to the request, which answers 500
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(self._finish, job.done, result, error)
            except RuntimeError:
                # The event loop has closed, so the response has no connection to go to.
                log.warning("A request finished after the web server had stopped; its response is lost.")
                return
            # No data of a request must outlive it, least of all a body of 32 MB.
            del job, result, error

    def _finish(self, done: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
        self._handed_out -= 1
        if self._waiting:
            self._hand_out(self._waiting.take())
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

"""A bounded pool of threads with a bounded, fair queue: each client address has its turn."""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

log = logging.getLogger("hookhub.http")

# Jobs handed to the threads beyond their number, so that none waits for the event loop between two jobs.
AHEAD = 1


class Job(NamedTuple):
    """A call to make in a thread, and the future that takes its result."""

    call: Callable[[], Any]
    done: "asyncio.Future[Any]"


class Full(Exception):
    """The queue takes no more, from this client or from any."""


class Pool:
    """Threads that make calls; all methods are for the event loop's own thread, so that they need no lock."""

    def __init__(self, *, threads: int, max_waiting: int, max_waiting_per_client: int) -> None:
        self._threads = threads
        self._max_waiting = max_waiting
        self._max_per_client = max_waiting_per_client
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._count_waiting = 0
        self._handed_out = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, call: Callable[[], Any], *, client: str) -> "asyncio.Future[Any]":
        """Return the result of a call to come; raise Full when too many wait already."""
        loop = self._started()
        job = Job(call, loop.create_future())
        if self._handed_out < self._threads + AHEAD:
            self._hand_out(job)
            return job.done
        queue = self._waiting.get(client)
        if self._count_waiting >= self._max_waiting or (queue and len(queue) >= self._max_per_client):
            raise Full
        if queue is None:
            queue = self._waiting[client] = deque()
        queue.append(job)
        self._count_waiting += 1
        return job.done

    def close(self) -> None:
        """Let the threads end once they have made the calls that were handed to them."""
        if self._loop is not None:
            for _ in range(self._threads):
                self._jobs.put(None)
            self._loop = None

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for number in range(self._threads):
                # A daemon, because a process must be able to end while its database does not answer.
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
                # The event loop has ended, and the answer has no connection to go to.
                log.warning("A request was completed after the web server had stopped; its answer is lost.")
                return
            # Nothing of a request outlives it, least of all a body of 32 MB.
            del job, result, error

    def _finish(self, done: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
        self._handed_out -= 1
        if self._count_waiting:
            self._hand_out(self._next())
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def _next(self) -> Job:
        """Return the oldest request of the client that has waited longest for its turn."""
        client, queue = self._waiting.popitem(last=False)
        job = queue.popleft()
        self._count_waiting -= 1
        if queue:
            self._waiting[client] = queue
        return job

"""Long polls: a request waits for its answer without a transaction and, in the web server, without a thread.

The web server looks again from time to time (``hookhub.server.polling``). Elsewhere, the thread of the request does.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import timedelta
from functools import partial
from threading import Lock
from time import monotonic, sleep
from typing import Any, NamedTuple

from django.db import close_old_connections
from django.http import HttpResponse

# Where the web server, if it can, has put that it will make the call found here until there is an answer.
POLL = "hookhub.poll"
INTERVAL = timedelta(milliseconds=200)
JSON = "application/json"
# How much longer a request counts that is looked for no more, because its connection is lost.
GRACE = timedelta(seconds=5)

# Where the web server does not look: a request that waits keeps a thread from all others, of which there may be few,
# and is killed by a server that takes it for stuck.
THREADS_THAT_WAIT = 1
LONGEST_IN_A_THREAD = timedelta(seconds=10)


class Found(NamedTuple):
    """An answer of JSON; what has changed while its request waited may make it an error."""

    content: bytes
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, response: HttpResponse) -> "Found":
        """Return the answer that a response of JSON is."""
        headers = [(name, value) for name, value in response.items() if name != "Content-Type"]
        return cls(response.content, response.status_code, headers)


# Returns the answer, or None to look again.
Look = Callable[[], Found | None]


def needs_a_thread(environ: Mapping[str, Any]) -> bool:
    """Return whether a request that waits keeps its thread, because the web server cannot look for the answer."""
    return POLL not in environ


class Poll(NamedTuple):
    """What the web server does for an answer: it calls ``look`` again and again."""

    look: Look
    # Called once if the answer is wanted now; the next look then returns one.
    hurry: Callable[[], None] | None = None


def answer(environ: MutableMapping[str, Any], look: Look, *, hurry: Callable[[], None] | None = None) -> HttpResponse:
    """Return the answer that ``look`` finds, or have the web server look for it until it is there.

    The web server calls ``hurry`` if the client leaves, or the process is told to stop.
    """
    found = look()
    if found is None and not needs_a_thread(environ):
        environ[POLL] = Poll(partial(_outside_of_a_request, look), hurry)
        return HttpResponse(content_type=JSON)
    while found is None:
        sleep(INTERVAL.total_seconds())
        found = look()
    return HttpResponse(found.content, status=found.status, headers={**dict(found.headers), "Content-Type": JSON})


def _outside_of_a_request(look: Look) -> Found | None:
    close_old_connections()
    try:
        return look()
    finally:
        close_old_connections()


class Room:
    """How many requests of one organization, and of all, may wait in this process: each look is a query."""

    def __init__(self, *, of_organization: int, of_all: int) -> None:
        self.of_organization, self.of_all = of_organization, of_all
        self._waiting: list[Wait] = []
        self._lock = Lock()

    def enter(self, organization_id: int, *, patience: timedelta) -> "Wait | None":
        """Count a request among those that wait, until it ends; return None if no further one may."""
        now = monotonic()
        wait = Wait(self, organization_id, deadline=now + patience.total_seconds())
        with self._lock:
            self._waiting[:] = [each for each in self._waiting if each.deadline + GRACE.total_seconds() > now]
            own = sum(each.organization_id == organization_id for each in self._waiting)
            if own >= self.of_organization or len(self._waiting) >= self.of_all:
                return None
            self._waiting.append(wait)
        return wait

    def leave(self, wait: "Wait") -> None:
        """Count a request no more; again is harmless."""
        with self._lock:
            if wait in self._waiting:
                self._waiting.remove(wait)


class Wait:
    """A request that waits, until ``deadline`` by the monotonic clock."""

    def __init__(self, room: Room, organization_id: int, *, deadline: float) -> None:
        self.organization_id = organization_id
        self.deadline = deadline
        self._room = room

    @property
    def is_over(self) -> bool:
        """Return whether the caller has waited for long enough."""
        return monotonic() >= self.deadline

    def hurry(self) -> None:
        """Let the caller wait no longer."""
        self.deadline = min(self.deadline, monotonic())

    def end(self) -> None:
        """Count the request no more; again is harmless."""
        self._room.leave(self)

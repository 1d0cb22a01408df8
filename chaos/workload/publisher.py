"""A publisher of the fault harness: a process that logs each event before it publishes it, and the outcome after it.

`python -m chaos.workload.publisher PLAN` publishes according to the JSON in PLAN until its standard input is closed.
"""

import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.retry import Retry

from chaos.workload.events import Made, Outcome, Route, make

TIMEOUT_SECONDS = 4.0
# A publisher that got no answer may repeat its request unchanged. Every second request here is, up to this often.
REPEATS = 8
REPEAT_AFTER_SECONDS = 0.7

# Events in a request of the route "batch".
BATCH = 10


class Result(NamedTuple):
    """The outcome of one request, and its HTTP status if it had one."""

    outcome: Outcome
    status: int | None = None


Send = Callable[[list[Made]], Result]


@dataclass(frozen=True)
class Plan:
    """Where to publish, at which rates, and where to log it; serializable as JSON."""

    url: str
    key: str
    redis_url: str
    stream: str
    journal: str
    seed: int
    # Requests a second by route.
    rates: dict[Route, float]
    batch: int = BATCH
    # The repository of all events, if they have one.
    repository: str = ""
    threads: int = 3


class Journal:
    """A log with two lines for each event: before it is published, and with the outcome."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def begin(self, events: list[Made], *, route: Route) -> None:
        """Log events about to be published."""
        at = time.time()
        self._write([{"key": one.key, "type": one.type, "sha": one.sha, "route": route, "at": at} for one in events])

    def end(self, events: list[Made], result: Result) -> None:
        """Log the outcome of events."""
        entry = {"outcome": result.outcome, "answered_at": time.time(), "status": result.status}
        self._write([{"key": one.key, **entry} for one in events])

    def _write(self, lines: list[dict[str, Any]]) -> None:
        os.write(self._file, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


class Http:
    """Publishes over one HTTP connection and interprets the answers."""

    def __init__(self, plan: Plan) -> None:
        self._host = urlsplit(plan.url).netloc
        self._key = plan.key
        self._connection: http.client.HTTPConnection | None = None

    def send(self, events: list[Made]) -> Result:
        """Send one event as a JSON object, several as NDJSON."""
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": f"application/{'x-ndjson' if len(events) > 1 else 'json'}",
        }
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_SECONDS)
                self._connection.connect()
        except OSError:
            # Nothing was sent, so nothing can have been accepted.
            self._connection = None
            return Result("rejected")
        try:
            self._connection.request("POST", "/v1/events", b"\n".join(one.line for one in events), headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            return Result("unknown")
        return Result(meaning_of(answer.status), answer.status)


class Stream:
    """Appends to the stream and interprets the answers of Redis."""

    def __init__(self, plan: Plan) -> None:
        self._stream = plan.stream
        timeouts: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
        self._redis = Redis.from_url(plan.redis_url, retry=Retry(NoBackoff(), 0), **timeouts)

    def send(self, events: list[Made]) -> Result:
        """Append an entry for each event, and return one outcome: acknowledged only when all of them are."""
        outcome: set[Outcome] = {self._append(one) for one in events}
        return Result(outcome.pop() if len(outcome) == 1 else "unknown")

    def _append(self, event: Made) -> Outcome:
        try:
            self._redis.xadd(self._stream, {"event": event.line})
        except (OutOfMemoryError, ResponseError):
            return "rejected"
        except (RedisError, OSError):
            return "unknown"
        return "acknowledged"


def meaning_of(status: int) -> Outcome:
    """Return what an HTTP status means to a publisher."""
    if status == 202:
        return "acknowledged"
    # A 4xx is final. Any other status may follow a COMMIT.
    return "rejected" if is_rejection(status) else "unknown"


def is_rejection(status: int | None) -> bool:
    """Return whether an HTTP status says that the request itself was invalid; the harness sends only valid requests."""
    return status is not None and 400 <= status < 500


def summary_of(results: Sequence[Result]) -> Result:
    """Return the combined outcome of all tries of one request, with the status of a rejection if there was any.

    A rejection after a try without an answer proves nothing, since that try may have stored the event; then only an
    acknowledgement is certain.
    """
    last = results[-1].outcome
    rejections = [one.status for one in results if is_rejection(one.status)]
    return Result(
        "unknown" if last == "rejected" and len(results) > 1 else last, (rejections or [results[-1].status])[0]
    )


def publish(plan: Plan, route: Route, *, number: int, of: int, stopped: threading.Event) -> None:
    """Publish by one route at a steady rate, starting at ``number``, until ``stopped`` is set."""
    journal = Journal(plan.journal)
    sender = Stream(plan) if route == "stream" else Http(plan)
    count = plan.batch if route == "batch" else 1
    every = of / plan.rates[route]
    due = time.monotonic() + number / plan.rates[route]
    while not stopped.wait(max(0.0, due - time.monotonic())):
        # After a stall, do not send everything that was due meanwhile at once.
        due = max(due + every, time.monotonic() - 1.0)
        events = [
            make(number * count + place, seed=plan.seed, route=route, repository=plan.repository)
            for place in range(count)
        ]
        publish_one(
            sender.send, events, journal=journal, route=route, is_patient=number // of % 2 == 0, stopped=stopped
        )
        number += of


def publish_one(
    send: Send, events: list[Made], *, journal: Journal, route: Route, is_patient: bool, stopped: threading.Event
) -> None:
    """Publish once; if the outcome is unknown and the publisher is patient, repeat until it is known."""
    journal.begin(events, route=route)
    results = [send(events)]
    for _ in range(REPEATS):
        if summary_of(results).outcome != "unknown" or not is_patient or stopped.wait(REPEAT_AFTER_SECONDS):
            break
        results.append(send(events))
    journal.end(events, summary_of(results))


def main() -> None:
    """Publish until standard input is closed, which happens at the latest when the harness ends.

    Re-raise at the end what any of the threads raised, so that the process ends with an error and a traceback.
    """
    plan = Plan(**json.loads(sys.argv[1]))
    stopped = threading.Event()
    threads = {route: 1 if route == "stream" else plan.threads for route in plan.rates}
    with ThreadPoolExecutor(max_workers=sum(threads.values())) as pool:
        publishing = [
            pool.submit(publish, plan, route, number=number, of=of, stopped=stopped)
            for route, of in threads.items()
            for number in range(of)
        ]
        sys.stdin.read()
        stopped.set()
    for one in publishing:
        one.result()


if __name__ == "__main__":
    main()

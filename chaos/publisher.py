"""A publisher of the fault harness: a process that writes down what it publishes before, and what it heard after.

`python -m chaos.publisher PLAN` publishes as the JSON in PLAN says until its standard input ends, and ends then.
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

from chaos.events import Made, make
from chaos.records import Door, Said

TIMEOUT_SECONDS = 4.0
# A publisher that heard nothing may repeat its request as it is; every second one here does, so many times.
REPEATS = 8
REPEAT_AFTER_SECONDS = 0.7

# How many events a request of the door "batch" has.
BATCH = 10


class Heard(NamedTuple):
    """What came of one request: what that means, and its HTTP status, where there was an answer and it had one."""

    said: Said
    status: int | None = None


Send = Callable[[list[Made]], Heard]


@dataclass(frozen=True)
class Plan:
    """Where to publish, how much, and where to write it down; all of it fits into JSON."""

    url: str
    key: str
    redis_url: str
    stream: str
    journal: str
    seed: int
    # Requests a second by door, and events in each.
    rates: dict[Door, float]
    batch: int = BATCH
    threads: int = 3


class Journal:
    """Two lines for each event: that it is about to be published, and what came of it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def begin(self, events: list[Made], *, door: Door) -> None:
        """Note what is going to be published."""
        at = time.time()
        self._write([{"key": one.key, "type": one.type, "sha": one.sha, "door": door, "at": at} for one in events])

    def end(self, events: list[Made], heard: Heard) -> None:
        """Note what was heard of it."""
        told = {"said": heard.said, "said_at": time.time(), "status": heard.status}
        self._write([{"key": one.key, **told} for one in events])

    def _write(self, lines: list[dict[str, Any]]) -> None:
        os.write(self._file, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


class Http:
    """Publishes over one connection, and says what the answer means."""

    def __init__(self, plan: Plan) -> None:
        self._host = urlsplit(plan.url).netloc
        self._key = plan.key
        self._connection: http.client.HTTPConnection | None = None

    def send(self, events: list[Made]) -> Heard:
        """Send one event as an object, several as lines."""
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
            return Heard("refused")
        try:
            self._connection.request("POST", "/v1/events", b"\n".join(one.line for one in events), headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            return Heard("unknown")
        return Heard(meaning_of(answer.status), answer.status)


class Stream:
    """Appends to the stream, and says what Redis said."""

    def __init__(self, plan: Plan) -> None:
        self._stream = plan.stream
        timeouts: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
        self._redis = Redis.from_url(plan.redis_url, retry=Retry(NoBackoff(), 0), **timeouts)

    def send(self, events: list[Made]) -> Heard:
        """Append one entry for each event, and count them as one: acknowledged when all are."""
        said: set[Said] = {self._append(one) for one in events}
        return Heard(said.pop() if len(said) == 1 else "unknown")

    def _append(self, event: Made) -> Said:
        try:
            self._redis.xadd(self._stream, {"event": event.line})
        except (OutOfMemoryError, ResponseError):
            return "refused"
        except (RedisError, OSError):
            return "unknown"
        return "acknowledged"


def meaning_of(status: int) -> Said:
    """Say what an HTTP status means to a publisher."""
    if status == 202:
        return "acknowledged"
    # What is wrong with the request is wrong with it for good; anything else may come after the COMMIT.
    return "refused" if is_rejection(status) else "unknown"


def is_rejection(status: int | None) -> bool:
    """Tell whether an HTTP status says that the request itself was wrong, which none here is."""
    return status is not None and 400 <= status < 500


def summary_of(heard: Sequence[Heard]) -> Heard:
    """Give what all the tries of one request come to, with the status of a rejection if there was any.

    Refused after a try that was left open may have been stored by that one: then only an acknowledgement settles it.
    """
    last = heard[-1].said
    rejections = [one.status for one in heard if is_rejection(one.status)]
    return Heard("unknown" if last == "refused" and len(heard) > 1 else last, (rejections or [heard[-1].status])[0])


def publish(plan: Plan, door: Door, *, number: int, of: int, stopped: threading.Event) -> None:
    """Publish through one door at an even pace, beginning with a number of its own, until told to stop."""
    journal = Journal(plan.journal)
    sender = Stream(plan) if door == "stream" else Http(plan)
    count = plan.batch if door == "batch" else 1
    every = of / plan.rates[door]
    due = time.monotonic() + number / plan.rates[door]
    while not stopped.wait(max(0.0, due - time.monotonic())):
        # A service that stalls is not met by all that was due meanwhile at once.
        due = max(due + every, time.monotonic() - 1.0)
        events = [make(number * count + place, seed=plan.seed, door=door) for place in range(count)]
        publish_one(sender.send, events, journal=journal, door=door, is_patient=number // of % 2 == 0, stopped=stopped)
        number += of


def publish_one(
    send: Send, events: list[Made], *, journal: Journal, door: Door, is_patient: bool, stopped: threading.Event
) -> None:
    """Publish once, and if that is left open and the publisher is patient, again until it is not."""
    journal.begin(events, door=door)
    heard = [send(events)]
    for _ in range(REPEATS):
        if summary_of(heard).said != "unknown" or not is_patient or stopped.wait(REPEAT_AFTER_SECONDS):
            break
        heard.append(send(events))
    journal.end(events, summary_of(heard))


def main() -> None:
    """Publish until the standard input ends, which it does at the latest when the harness does.

    Raises in the end what any of the threads raised, so that the process ends with an error and a traceback.
    """
    plan = Plan(**json.loads(sys.argv[1]))
    stopped = threading.Event()
    threads = {door: 1 if door == "stream" else plan.threads for door in plan.rates}
    with ThreadPoolExecutor(max_workers=sum(threads.values())) as pool:
        publishing = [
            pool.submit(publish, plan, door, number=number, of=of, stopped=stopped)
            for door, of in threads.items()
            for number in range(of)
        ]
        sys.stdin.read()
        stopped.set()
    for one in publishing:
        one.result()


if __name__ == "__main__":
    main()

"""A publisher of the fault harness: a process that writes down what it publishes before, and what it heard after.

`python -m chaos.publisher PLAN` publishes as the JSON in PLAN says until its standard input ends, and ends then.
"""

import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
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

Send = Callable[[list[Made]], Said]


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
    batch: int = 10
    threads: int = 3


class Journal:
    """Two lines for each event: that it is about to be published, and what came of it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def begin(self, events: list[Made], *, door: Door) -> None:
        """Note what is going to be published."""
        at = time.time()
        self._write([{"key": one.key, "type": one.type, "sha": one.sha, "door": door, "at": at} for one in events])

    def end(self, events: list[Made], said: Said) -> None:
        """Note what was heard of it."""
        at = time.time()
        self._write([{"key": one.key, "said": said, "said_at": at} for one in events])

    def _write(self, lines: list[dict[str, Any]]) -> None:
        os.write(self._file, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


class Http:
    """Publishes over one connection, and says what the answer means."""

    def __init__(self, plan: Plan) -> None:
        self._host = urlsplit(plan.url).netloc
        self._key = plan.key
        self._connection: http.client.HTTPConnection | None = None

    def send(self, events: list[Made]) -> Said:
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
            return "refused"
        try:
            self._connection.request("POST", "/v1/events", b"\n".join(one.line for one in events), headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            return "unknown"
        if answer.status == 202:
            return "acknowledged"
        # What is wrong with the request is wrong with it for good; anything else may come after the COMMIT.
        return "refused" if 400 <= answer.status < 500 else "unknown"


class Stream:
    """Appends to the stream, and says what Redis said."""

    def __init__(self, plan: Plan) -> None:
        self._stream = plan.stream
        timeouts: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
        self._redis = Redis.from_url(plan.redis_url, retry=Retry(NoBackoff(), 0), **timeouts)

    def send(self, events: list[Made]) -> Said:
        """Append one entry for each event, and count them as one: acknowledged when all are."""
        said: set[Said] = {self._append(one) for one in events}
        return said.pop() if len(said) == 1 else "unknown"

    def _append(self, event: Made) -> Said:
        try:
            self._redis.xadd(self._stream, {"event": event.line})
        except (OutOfMemoryError, ResponseError):
            return "refused"
        except (RedisError, OSError):
            return "unknown"
        return "acknowledged"


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
    said = send(events)
    for _ in range(REPEATS):
        if said != "unknown" or not is_patient or stopped.wait(REPEAT_AFTER_SECONDS):
            break
        # Refused now may have been stored before: only an acknowledgement settles it.
        said = "acknowledged" if send(events) == "acknowledged" else "unknown"
    journal.end(events, said)


def main() -> None:
    """Publish until the standard input ends, which it does at the latest when the harness does."""
    plan = Plan(**json.loads(sys.argv[1]))
    stopped = threading.Event()
    threads = []
    for door in plan.rates:
        of = 1 if door == "stream" else plan.threads
        for number in range(of):
            how = {"number": number, "of": of, "stopped": stopped}
            threads.append(threading.Thread(target=publish, args=(plan, door), kwargs=how))
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stopped.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()

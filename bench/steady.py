"""A steady load of several kinds of events, published on a fixed timetable by a separate process.

`python -m bench.steady` reads a plan as JSON, executes it, and prints the result.
"""

import json
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.load import payload
from bench.publisher import Publisher, head_of
from testbed.processes import run_module

# Enough to send events on time while some responses are late.
CONNECTIONS = 32


@dataclass(frozen=True)
class Kind:
    """One kind of event: its type, its repository, and its fraction of all events."""

    type: str
    repository: str
    share: float


@dataclass(frozen=True)
class Plan:
    """``per_second`` events for ``seconds`` seconds, drawn from ``kinds`` in the same order every time."""

    url: str
    key: str
    kinds: tuple[Kind, ...]
    per_second: float
    seconds: float
    size: int = 1024


@dataclass(frozen=True)
class Published:
    """What was accepted: start time, number of events by kind, and the longest delay of a request."""

    begun_at: float
    published: tuple[int, ...]
    most_behind_ms: float


class Mix:
    """One event after another, of all kinds; "t" in each is its planned time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._events = [event_of(kind, size=plan.size) for kind in plan.kinds]
        self._shares = [kind.share for kind in plan.kinds]
        # Random instead of round-robin: a regular pattern may miss, or always hit, the rhythm of what is measured.
        self._random = random.Random(1)
        self._run = f"{time.time_ns():x}"
        self.published = [0] * len(plan.kinds)

    def write(self, planned_at: float) -> bytes:
        """Return the next request."""
        [kind] = self._random.choices(range(len(self._shares)), self._shares)
        self.published[kind] += 1
        body = self._events[kind] % (f"{self._run}-{sum(self.published)}".encode(), planned_at)
        return head_of(self._plan.url, self._plan.key, media_type="json", length=len(body)) + body


def event_of(kind: Kind, *, size: int) -> bytes:
    """Return an event in the API's format, with placeholders for its id and its planned time."""
    event = {"type": kind.type, "repository": kind.repository, "id": "", "data": payload(size)}
    text = json.dumps(event, separators=(",", ":")).replace("%", "%%")
    return text.replace('"id":""', '"id":"%b"', 1).replace('"t":0,', '"t":%.6f,', 1).encode()


def carry_out(plan: Plan) -> Published:
    """Publish all events on time; raise RuntimeError when any was not accepted."""
    mix = Mix(plan)
    publisher = Publisher(plan.url, mix, connections=CONNECTIONS)
    begun_at = time.monotonic()
    publisher.publish(every=1 / plan.per_second, seconds=plan.seconds)
    if wrong := publisher.refused + publisher.broken + publisher.unanswered:
        raise RuntimeError(f"{wrong} events were not accepted")
    return Published(begun_at, tuple(mix.published), round(publisher.behind * 1000, 1))


def publish(plan: Plan) -> Published:
    """Execute a plan in a separate process and wait for it; raise CalledProcessError when that fails."""
    result = run_module("bench.steady", stdin=json.dumps(asdict(plan)))
    return Published(result["begun_at"], tuple(result["published"]), result["most_behind_ms"])


def main() -> None:
    read: Mapping[str, Any] = json.load(sys.stdin)
    plan = Plan(**{**read, "kinds": tuple(Kind(**kind) for kind in read["kinds"])})
    print(json.dumps(asdict(carry_out(plan))))


if __name__ == "__main__":
    main()

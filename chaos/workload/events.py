"""Generates the events to publish, in unusual but valid JSON, with the exact bytes that must arrive for each."""

import hashlib
import random
from dataclasses import dataclass
from typing import Literal

Route = Literal["single", "batch", "stream"]
# What a publisher knows about an event: it may be stored or not when there was no answer.
Outcome = Literal["acknowledged", "rejected", "unknown"]

TYPES = ("push.a", "push.b", "issues.opened")
# Every tenth event is larger than one packet.
LONG_EVERY = 10
# The field by which webhooks may filter events, and how many values it has.
GROUP, GROUPS = "group", 3
LONG = 6000
TIMESTAMP = "2026-03-04T12:00:00.%03dZ"


@dataclass(frozen=True)
class Made:
    """One event to publish: ``line`` is one line of JSON for the API, ``sha`` the hash of the body to be received."""

    key: str
    type: str
    line: bytes
    sha: str


def group_of(key: str) -> int:
    """Return the group of the event with a key."""
    return int(key.rpartition("-")[2]) % GROUPS


def make(number: int, *, seed: int, route: str, repository: str = "") -> Made:
    """Return the event with that number; the same seed gives the same event."""
    rng = random.Random(f"{seed} {route} {number}")
    key = f"{seed}-{route}-{number}"
    event_type = rng.choice(TYPES)
    timestamp = TIMESTAMP % (number % 1000)
    filling = "x" * (LONG if number % LONG_EVERY == 0 else rng.randrange(200))
    # Re-serializing this changes it: extra spaces, 1.50, 1e2, and three spellings of é.
    data = (
        f'{{"k":"{key}", "n" : 1.50,"e":1e2,"text":"é\\u00e9\\u00C9 \\/ 🎉","empty":[ ],"z":null,'
        f'"a":{{"b":{{}}}},"{GROUP}":{number % GROUPS}.0,"number":{number},"filling":"{filling}"}}'
    )
    named = f'"repository":"{repository}",' if repository else ""
    line = f'{{"type":"{event_type}",{named}"id":"{key}","timestamp":"{timestamp}","data":{data}}}'
    body = f'{{"type":"{event_type}","timestamp":"{timestamp}","data":{data}}}'
    return Made(key, event_type, line.encode(), hashlib.sha256(body.encode()).hexdigest())

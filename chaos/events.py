"""What the publishers publish: events in odd but legal JSON, and the very bytes that must arrive for each."""

import hashlib
import random
from dataclasses import dataclass

TYPES = ("push.a", "push.b", "issues.opened")
# Every tenth event is longer than one packet.
LONG_EVERY = 10
LONG = 6000
TIMESTAMP = "2026-03-04T12:00:00.%03dZ"


@dataclass(frozen=True)
class Made:
    """One event ready to be sent: the API's JSON in one line, and the hash of the body that receivers must get."""

    key: str
    type: str
    line: bytes
    sha: str


def make(number: int, *, seed: int, door: str) -> Made:
    """Make the event of that number, the same for the same seed."""
    chance = random.Random(f"{seed} {door} {number}")
    key = f"{seed}-{door}-{number}"
    event_type = chance.choice(TYPES)
    timestamp = TIMESTAMP % (number % 1000)
    filling = "x" * (LONG if number % LONG_EVERY == 0 else chance.randrange(200))
    # Whoever reads this and writes it again writes something else: spaces, 1.50, 1e2, three ways to say é.
    data = (
        f'{{"k":"{key}", "n" : 1.50,"e":1e2,"text":"é\\u00e9\\u00C9 \\/ 🎉","empty":[ ],"z":null,'
        f'"a":{{"b":{{}}}},"number":{number},"filling":"{filling}"}}'
    )
    line = f'{{"type":"{event_type}","id":"{key}","timestamp":"{timestamp}","data":{data}}}'
    body = f'{{"type":"{event_type}","timestamp":"{timestamp}","data":{data}}}'
    return Made(key, event_type, line.encode(), hashlib.sha256(body.encode()).hexdigest())

"""The lives of subscriptions: what each subscriber asks for, step by step, with waits that a seed determines."""

import base64
import random
from dataclasses import dataclass
from typing import Literal

from chaos.workload.events import GROUPS

# Lasting ones: made and kept, renewed with another secret, and prolonged before a short lease ends, without a key and
# with one; a filtered one gets only the events of a group. Ending ones: left to expire, unsubscribed by their
# subscriber, and deleted by the owner of the topic. A mute one never echoes a challenge. A paced one consents to a
# rate, which is lower than that of the events, and expires with what is left.
Kind = Literal[
    "kept",
    "renewed",
    "prolonged",
    "native",
    "brief",
    "unsubscribed",
    "revoked",
    "native-brief",
    "native-deleted",
    "mute",
    "native-filtered",
    "paced",
]
KINDS: tuple[Kind, ...] = (
    "kept", "brief", "renewed", "native", "unsubscribed", "mute", "prolonged", "native-brief", "revoked",
    "native-deleted", "native-filtered", "paced",
)  # fmt: skip
LASTING = frozenset({"kept", "renewed", "prolonged", "native", "native-filtered"})
NATIVE = frozenset({"native", "native-brief", "native-deleted", "native-filtered", "paced"})
BRIEF = frozenset({"brief", "native-brief"})
LONG_SECONDS, SHORT_SECONDS, PACED_SECONDS = 3600, 4, 15
# Requests a minute that a paced one allows.
RATE = 30

Action = Literal["subscribe", "unsubscribe", "delete"]


@dataclass(frozen=True)
class Step:
    """One request, ``after`` seconds since the first echo of the step before, or at once.

    ``secret`` is the number of one of the life's secrets, or None to be sent unsigned updates.
    """

    action: Action
    after: float = 0.0
    secret: int | None = None
    lease: int = LONG_SECONDS


@dataclass(frozen=True)
class Life:
    """One subscription: its callback's host and path, what its subscriber does, and its secrets."""

    kind: Kind
    host: str
    path: str
    secrets: tuple[str, ...]
    steps: tuple[Step, ...]
    # The share of the updates' first requests that its receiver rejects, so that they are pending for a while.
    rejects: float = 0.2


def wanted_group(path: str) -> int:
    """Return the group of the events that the filter of a filtered life accepts."""
    return int(path.rpartition("/")[2]) // len(KINDS) % GROUPS


def life(number: int, *, seed: int, hosts: tuple[str, ...]) -> Life:
    """Return the life with that number; the same seed gives the same one."""
    rng = random.Random(f"{seed} {number}")
    kind = KINDS[number % len(KINDS)]
    secrets = tuple("whsec_" + base64.b64encode(rng.randbytes(24)).decode() for _ in range(2))
    return Life(
        kind,
        # So that each kind comes to each host, although their numbers have a common divisor.
        hosts[(number + number // len(KINDS)) % len(hosts)],
        f"/subscriptions/{kind}/{number}",
        secrets,
        _steps(kind, rng),
        rejects=0.9 if kind in BRIEF else 0.2,
    )


def _steps(kind: Kind, rng: random.Random) -> tuple[Step, ...]:
    first = 0 if kind in NATIVE or rng.random() < 0.5 else None
    later = rng.uniform(2, 7)
    match kind:
        case "brief" | "native-brief":
            return (Step("subscribe", secret=first, lease=SHORT_SECONDS),)
        case "paced":
            return (Step("subscribe", secret=first, lease=PACED_SECONDS),)
        case "renewed":
            return Step("subscribe", secret=first), Step("subscribe", later, 1)
        case "prolonged":
            return Step("subscribe", secret=first, lease=SHORT_SECONDS), Step("subscribe", 0.5, 1)
        case "unsubscribed":
            return Step("subscribe", secret=first), Step("unsubscribe", later)
        case "revoked" | "native-deleted":
            return Step("subscribe", secret=first), Step("delete", later)
    return (Step("subscribe", secret=first),)

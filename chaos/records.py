"""What was written down during a scenario by publishers, receiver, database, and by whoever did the damage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from chaos.script import SLOW_SECONDS

Said = Literal["acknowledged", "refused", "unknown"]
Door = Literal["single", "batch", "stream"]
# What was interrupted: HookHub's own processes, a server, the way to one, or the whole machine.
Kind = Literal["process", "database", "redis", "web", "receiver", "machine"]


class Published(NamedTuple):
    """One event as its publisher remembers it; ``sha`` is of the whole body that receivers must get."""

    key: str
    type: str
    sha: str
    door: Door
    at: float
    said: Said
    said_at: float


class Arrival(NamedTuple):
    """One request as the receiver logged it before it answered; ``answer`` is what it was about to do."""

    at: float
    path: str
    delivery: str
    key: str
    sha: str
    signature: str
    answer: str

    @property
    def is_taken(self) -> bool:
        """Whether it was answered with a whole 2xx."""
        return self.answer in {"200", "slow"}

    @property
    def answered_at(self) -> float:
        """When it was answered, if it was."""
        return self.at + (SLOW_SECONDS if self.answer.startswith("slow") else 0)


class Owed(NamedTuple):
    """One delivery as the database has it."""

    id: str
    key: str
    path: str
    state: str
    ending: str | None
    attempts_made: int
    has_lease: bool


class Attempted(NamedTuple):
    """One attempt as the database has it; ``ended_at`` is None for one that nobody lived to tell of."""

    delivery: str
    number: int
    started_at: float
    ended_at: float | None
    outcome: str
    status: int | None


class Hook(NamedTuple):
    """One webhook: what it asked for, and whether its receiver is one that always behaves."""

    path: str
    topics: tuple[str, ...]
    schedule: tuple[float, ...]
    timeout: float
    is_healthy: bool
    disabled_at: float | None = None
    # Whether HookHub may disable it.
    disables: bool = False


class Interruption(NamedTuple):
    """Something that may have cut requests short.

    ``in_hand`` are the deliveries that the halted processes held; None says that it may have been any.
    """

    what: str
    at: float
    until: float
    in_hand: frozenset[str] | None
    is_kill: bool
    kind: Kind = "process"


@dataclass(frozen=True)
class Records:
    """All of it; times are seconds of the one clock that the whole machine has."""

    published: Sequence[Published]
    arrivals: Sequence[Arrival]
    stored: Mapping[str, float]
    owed: Sequence[Owed]
    attempts: Sequence[Attempted]
    hooks: Sequence[Hook]
    interruptions: Sequence[Interruption] = ()
    # When Redis forgot everything in it; how long an entry may wait there before a worker has stored it.
    forgotten_at: Sequence[float] = ()
    stored_within: float = 0.0
    # How long a lease lasts, and what was wrong with the ledger at the end.
    lease: float = 0.0
    ledger: Sequence[str] = ()
    # What is held against a scenario that was to be prompt: the median from the answer to the arrival.
    prompt_within: float | None = None
    late_allowed: float = 5.0
    notes: Sequence[str] = field(default_factory=tuple)


class Breach(NamedTuple):
    """One broken rule of the accounting, by its number."""

    rule: int
    what: str


def matches(topics: Sequence[str], event_type: str) -> bool:
    """Tell whether a webhook that asked for these gets an event of that type."""
    return any(topic in {"*", event_type} or event_type.startswith(f"{topic}.") for topic in topics)

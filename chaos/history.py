"""The history of a scenario: what publishers, receiver, database and nemesis recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from chaos.workload.behaviour import SLOW_SECONDS

Said = Literal["acknowledged", "refused", "unknown"]
Door = Literal["single", "batch", "stream"]
# What was interrupted: HookHub's own processes, a server, the connection to one, or the whole machine.
Kind = Literal["process", "database", "redis", "web", "receiver", "machine"]


class Published(NamedTuple):
    """One event as its publisher logged it; ``sha`` is the hash of the whole body that receivers must get."""

    key: str
    type: str
    sha: str
    door: Door
    at: float
    said: Said
    said_at: float


class Arrival(NamedTuple):
    """One request as the receiver logged it before it answered; ``answer`` is the answer it was about to give."""

    at: float
    path: str
    delivery: str
    key: str
    sha: str
    signature: str
    answer: str

    @property
    def is_taken(self) -> bool:
        """Return whether it was answered with a complete 2xx."""
        return self.answer in {"200", "slow"}

    @property
    def answered_at(self) -> float:
        """Return when it was answered, if it was."""
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
    """One attempt as the database has it; ``ended_at`` is None when the outcome is unknown."""

    delivery: str
    number: int
    started_at: float
    ended_at: float | None
    outcome: str
    status: int | None


class Hook(NamedTuple):
    """One webhook: its subscription, and whether its receiver always answers at once."""

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

    ``in_hand`` are the deliveries that the halted processes had leased; None means that any delivery may be affected.
    """

    what: str
    at: float
    until: float
    in_hand: frozenset[str] | None
    is_kill: bool
    kind: Kind = "process"


@dataclass(frozen=True)
class Records:
    """The whole history of one run; times are in seconds of the machine's clock."""

    published: Sequence[Published]
    arrivals: Sequence[Arrival]
    stored: Mapping[str, float]
    owed: Sequence[Owed]
    attempts: Sequence[Attempted]
    hooks: Sequence[Hook]
    interruptions: Sequence[Interruption] = ()
    # When Redis lost all its data; for how many seconds an entry may wait there before a worker stores it.
    forgotten_at: Sequence[float] = ()
    stored_within: float = 0.0
    # Seconds of a lease; the violations that ``check_ledger`` found at the end.
    lease: float = 0.0
    ledger: Sequence[str] = ()
    # The longest allowed median in seconds from answer to arrival, if the scenario demands promptness.
    prompt_within: float | None = None
    late_allowed: float = 5.0
    notes: Sequence[str] = field(default_factory=tuple)


class Breach(NamedTuple):
    """A violation of a rule of the checker, with the rule's number; 0 for problems of the harness."""

    rule: int
    what: str


def matches(topics: Sequence[str], event_type: str) -> bool:
    """Return whether a subscription to these topics matches an event type."""
    return any(topic in {"*", event_type} or event_type.startswith(f"{topic}.") for topic in topics)

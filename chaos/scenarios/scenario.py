"""What a scenario is, and the schedule of faults that a seed determines."""

import random
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from chaos.history import Webhook
from chaos.mutations.pace import QUICK
from chaos.workload.behaviour import ReceiverBehaviour, Script
from chaos.workload.events import Route

# The first fault waits until events flow.
FIRST_AFTER_SECONDS = 1.5


@dataclass(frozen=True)
class Subscriber:
    """One subscriber of a scenario: its event types, its receiver's behavior, and its settings."""

    path: str
    topics: tuple[str, ...] = ("*",)
    behaviours: tuple[ReceiverBehaviour, ...] = ()
    schedule: tuple[float, ...] = (1, 2, 2)
    in_flight: int = 20
    auto_disable: bool = False

    @property
    def is_healthy(self) -> bool:
        """Return whether its receiver always answers at once."""
        return not self.behaviours

    def webhook(self, *, timeout: float) -> Webhook:
        """Return its webhook as the history has it, not disabled yet."""
        return Webhook(self.path, self.topics, self.schedule, timeout, self.is_healthy, auto_disable=self.auto_disable)


STEADY = Subscriber("/steady")
NARROW = Subscriber("/narrow", topics=("push",))
# Fails the first request of each delivery, and later ones at random in every possible way.
FLAKY = Subscriber(
    "/flaky",
    topics=("issues", "push.a"),
    behaviours=(ReceiverBehaviour({"200": 89, "500": 4, "reset": 3, "slow": 2, "drip": 1, "hang": 1}, first="500"),),
    schedule=(1, 2, 1, 3, 1, 1),
)
FAILING = Subscriber("/failing", topics=("push.b",), behaviours=(ReceiverBehaviour({"500": 1}),), schedule=(1, 3))
SLOW = Subscriber("/slow", topics=("push",), behaviours=(ReceiverBehaviour({"slow": 1}),), in_flight=50)

USUAL = (STEADY, NARROW, FLAKY, FAILING)
# Subscriptions come and go within a scenario, and their subscribers are never limited.
QUICK_SUBSCRIPTIONS = {
    QUICK: "1",
    "HOOKHUB_HUB_MIN_LEASE": "2",
    "HOOKHUB_HUB_REQUESTS_PER_ADDRESS": "0",
    "HOOKHUB_HUB_REQUESTS_PER_HOST": "0",
    "HOOKHUB_RETRY_SCHEDULE": "1,1,1,1,1,1,1,1",
}
RATES: Mapping[Route, float] = {"single": 12, "batch": 2, "stream": 8}


@dataclass(frozen=True)
class Scenario:
    """A HookHub under load and the faults injected into it; ``claim`` is what the scenario proves."""

    name: str
    claim: str = ""
    faults: tuple[str, ...] = ()
    # Number of faults drawn from ``faults``; 0 injects each once, in order.
    draws: int = 0
    every: float = 2.5
    first_after: float = FIRST_AFTER_SECONDS
    # The least number of deliveries in flight at the kills, in total.
    min_leased: int = 0
    # The least number of seconds to publish.
    seconds: float = 8
    before: tuple[str, ...] = ()
    subscribers: tuple[Subscriber, ...] = USUAL
    rates: Mapping[Route, float] = field(default_factory=lambda: RATES)
    workers: int = 2
    # Whether subscriptions are made, renewed and ended all the time.
    subscribes: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    # Workers that are never killed or stopped as a whole.
    protected: tuple[str, ...] = ()
    # Additional environment variables by process.
    extra_environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    proxied: tuple[str, ...] = ()
    needs_own_servers: bool = False
    commit_delay: float = 0.0
    prompt_within: float | None = None
    late_allowed: float = 5.0
    # Seconds beyond the request deadline within which a stopped process must end.
    stop_grace: float = 5.0
    # Seconds to wait at the end for quiescence.
    quiescent_within: float = 90
    # The least fraction of its rate that each route must accept while no fault is active.
    min_accepted: float = 0.2
    bug: str = ""
    # The rules of the checker of which a mutant must break at least one; anything else must break none.
    expected_rules: AbstractSet[int] = frozenset()

    def script(self) -> Script:
        """Return the receiver's behavior by path."""
        return {subscriber.path: subscriber.behaviours for subscriber in self.subscribers}


@dataclass(frozen=True)
class Step:
    """One fault, ``at`` seconds after the publishers start."""

    at: float
    fault: str


def plan(scenario: Scenario, *, seed: int) -> list[Step]:
    """Return which fault begins when; the same seed gives the same plan."""
    rng = random.Random(f"{scenario.name} {seed}")
    faults = scenario.faults
    if scenario.draws:
        # Include each fault once as far as ``draws`` allows, so that no seed leaves one out.
        drawn = [*faults, *rng.choices(faults, k=max(0, scenario.draws - len(faults)))]
        rng.shuffle(drawn)
        faults = tuple(drawn[: scenario.draws])
    at, steps = scenario.first_after, []
    for fault in faults:
        steps.append(Step(round(at + rng.uniform(-0.3, 0.3) * min(1, scenario.every), 3), fault))
        at += scenario.every
    return steps

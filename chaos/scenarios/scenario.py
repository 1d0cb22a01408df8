"""What a scenario is, and the schedule of faults that a seed determines."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from chaos.history import Door
from chaos.workload.behaviour import Act, Script

# The first fault waits until events flow.
FIRST_AFTER_SECONDS = 1.5


@dataclass(frozen=True)
class Part:
    """One subscriber of a scenario: its event types, its receiver's behavior, and its settings."""

    path: str
    topics: tuple[str, ...] = ("*",)
    acts: tuple[Act, ...] = ()
    schedule: tuple[float, ...] = (1, 2, 2)
    in_flight: int = 20
    disables: bool = False

    @property
    def is_healthy(self) -> bool:
        """Return whether its receiver always answers at once."""
        return not self.acts


STEADY = Part("/steady")
NARROW = Part("/narrow", topics=("push",))
# Fails the first request of each delivery, and later ones at random in every possible way.
SHAKY = Part(
    "/shaky",
    topics=("issues", "push.a"),
    acts=(Act({"200": 89, "500": 4, "reset": 3, "slow": 2, "drip": 1, "hang": 1}, first="500"),),
    schedule=(1, 2, 1, 3, 1, 1),
)
HOPELESS = Part("/hopeless", topics=("push.b",), acts=(Act({"500": 1}),), schedule=(1, 3))
SLOW = Part("/slow", topics=("push",), acts=(Act({"slow": 1}),), in_flight=50)

USUAL = (STEADY, NARROW, SHAKY, HOPELESS)
RATES: Mapping[Door, float] = {"single": 12, "batch": 2, "stream": 8}


@dataclass(frozen=True)
class Scenario:
    """A HookHub under load and the faults injected into it; ``sentence`` states what the scenario proves."""

    name: str
    sentence: str
    faults: tuple[str, ...] = ()
    # Number of faults drawn from ``faults``; 0 injects each once, in order.
    draws: int = 0
    every: float = 2.5
    first_after: float = FIRST_AFTER_SECONDS
    # The least number of deliveries in flight at the kills, in total.
    in_hand_at_least: int = 0
    # The least number of seconds to publish.
    seconds: float = 8
    before: tuple[str, ...] = ()
    parts: tuple[Part, ...] = USUAL
    rates: Mapping[Door, float] = field(default_factory=lambda: RATES)
    workers: int = 2
    settings: Mapping[str, str] = field(default_factory=dict)
    # Workers that are never killed or stopped as a whole.
    spared: tuple[str, ...] = ()
    # Additional environment variables by process.
    differences: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    proxied: tuple[str, ...] = ()
    needs_own_servers: bool = False
    commits_take: float = 0.0
    prompt_within: float | None = None
    late_allowed: float = 5.0
    # Seconds beyond the request deadline within which a stopped process must end.
    stops_late: float = 5.0
    # Seconds to wait at the end for quiescence.
    rests_within: float = 90
    # The least fraction of its rate that each entry point must accept while no fault is active.
    let_in_least: float = 0.2
    bug: str = ""

    def script(self) -> Script:
        """Return the receiver's behavior by path."""
        return {part.path: part.acts for part in self.parts}


@dataclass(frozen=True)
class Step:
    """One fault, ``at`` seconds after the publishers start."""

    at: float
    fault: str


def plan(scenario: Scenario, *, seed: int) -> list[Step]:
    """Return which fault begins when; the same seed gives the same plan."""
    chance = random.Random(f"{scenario.name} {seed}")
    faults = scenario.faults
    if scenario.draws:
        # Include each fault once as far as ``draws`` allows, so that no seed leaves one out.
        drawn = [*faults, *chance.choices(faults, k=max(0, scenario.draws - len(faults)))]
        chance.shuffle(drawn)
        faults = tuple(drawn[: scenario.draws])
    at, steps = scenario.first_after, []
    for fault in faults:
        steps.append(Step(round(at + chance.uniform(-0.3, 0.3) * min(1, scenario.every), 3), fault))
        at += scenario.every
    return steps

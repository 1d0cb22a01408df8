"""What a scenario is, and the plan that a seed makes of it: which fault begins when."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from chaos.records import Door
from chaos.script import Act, Script

# The first fault waits until all is in motion.
FIRST_AFTER_SECONDS = 1.5


@dataclass(frozen=True)
class Part:
    """One webhook of a scenario: what it asks for, how its receiver behaves, and its own settings."""

    path: str
    topics: tuple[str, ...] = ("*",)
    acts: tuple[Act, ...] = ()
    schedule: tuple[float, ...] = (1, 2, 2)
    in_flight: int = 20
    disables: bool = False

    @property
    def is_healthy(self) -> bool:
        """Whether its receiver always answers at once."""
        return not self.acts


STEADY = Part("/steady")
NARROW = Part("/narrow", topics=("push",))
# Fails the first request of each delivery, and some later ones in every way there is.
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
    """A HookHub under load, and what is done to it meanwhile; ``sentence`` says what it is to prove."""

    name: str
    sentence: str
    faults: tuple[str, ...] = ()
    # How often which fault: all of them once in their order, or so many drawn from them.
    draws: int = 0
    every: float = 2.5
    first_after: float = FIRST_AFTER_SECONDS
    # How many deliveries the kills have to meet in hand, all together.
    in_hand_at_least: int = 0
    # How long to publish at least.
    seconds: float = 8
    before: tuple[str, ...] = ()
    parts: tuple[Part, ...] = USUAL
    rates: Mapping[Door, float] = field(default_factory=lambda: RATES)
    workers: int = 2
    settings: Mapping[str, str] = field(default_factory=dict)
    # Processes that are never killed as a whole.
    spared: tuple[str, ...] = ()
    # By process: what is different in its environment.
    differences: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    proxied: tuple[str, ...] = ()
    needs_own_servers: bool = False
    commits_take: float = 0.0
    prompt_within: float | None = None
    late_allowed: float = 5.0
    # How much later than its requests' deadline whoever is told to stop may end.
    stops_late: float = 5.0
    # How long to wait in the end until nothing waits any more.
    rests_within: float = 90
    # The least part of the requests at its rates that each door has to let in while nothing is in the way.
    let_in_least: float = 0.2
    bug: str = ""

    def script(self) -> Script:
        """Give what the receiver does on which path."""
        return {part.path: part.acts for part in self.parts}


@dataclass(frozen=True)
class Step:
    """One fault, so many seconds after the publishers began."""

    at: float
    fault: str


def plan(scenario: Scenario, *, seed: int) -> list[Step]:
    """Decide which fault begins when; the same for the same seed."""
    chance = random.Random(f"{scenario.name} {seed}")
    faults = scenario.faults
    if scenario.draws:
        # Each at least once as far as that goes, so that a seed cannot leave one out.
        drawn = [*faults, *chance.choices(faults, k=max(0, scenario.draws - len(faults)))]
        chance.shuffle(drawn)
        faults = tuple(drawn[: scenario.draws])
    at, steps = scenario.first_after, []
    for fault in faults:
        steps.append(Step(round(at + chance.uniform(-0.3, 0.3) * min(1, scenario.every), 3), fault))
        at += scenario.every
    return steps

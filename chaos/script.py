"""What the receiver does to which request: a script by webhook and time, and chances that a seed decides."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What a receiver can do: answer at once, after a while, never; hang up; or answer so slowly that it is never done.
ANSWERS = ("200", "500", "410", "slow", "slow-500", "hang", "reset", "drip")
# How long a slow answer takes.
SLOW_SECONDS = 1.0

Chances = Mapping[str, int]
WELL: Chances = {"200": 1}


@dataclass(frozen=True)
class Act:
    """What a webhook's receiver does until so many seconds after the beginning.

    ``first`` is what it does to the first request of each delivery, where that differs; ``chances`` are weights.
    """

    chances: Chances = field(default_factory=lambda: WELL)
    until: float = float("inf")
    first: str | None = None


Script = Mapping[str, Sequence[Act]]


def answer_to(script: Script, path: str, *, delivery: str, nth: int, at: float, seed: int) -> str:
    """Decide what is done to the ``nth`` request (from 1) of a delivery, ``at`` seconds after the beginning."""
    act = next((act for act in script.get(path, ()) if at < act.until), Act())
    if nth == 1 and act.first is not None:
        return act.first
    # Of the delivery and not of the order of arrival, which is another in each run.
    chance = random.Random(f"{seed} {delivery} {nth}")
    return chance.choices(list(act.chances), weights=list(act.chances.values()))[0]


def as_json(script: Script) -> dict[str, Any]:
    """Write a script down for the receiver's process."""
    return {
        path: [{"chances": dict(act.chances), "until": act.until, "first": act.first} for act in acts]
        for path, acts in script.items()
    }


def from_json(told: Mapping[str, Any]) -> Script:
    """Read it there."""
    return {path: [Act(**act) for act in acts] for path, acts in told.items()}

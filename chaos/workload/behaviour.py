"""The receiver's script: behavior by webhook and time, with random choices that a seed determines."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# The receiver's behaviors: answer at once, answer late, never answer, reset, or answer too slowly to ever finish.
ANSWERS = ("200", "500", "410", "slow", "slow-500", "hang", "reset", "drip")
# Seconds until a slow answer.
SLOW_SECONDS = 1.0

Chances = Mapping[str, int]
WELL: Chances = {"200": 1}


@dataclass(frozen=True)
class Act:
    """The behavior of a webhook's receiver until ``until`` seconds after the start.

    ``first``, if set, is the behaviour for the first request of each delivery; ``chances`` are weights.
    """

    chances: Chances = field(default_factory=lambda: WELL)
    until: float = float("inf")
    first: str | None = None


Script = Mapping[str, Sequence[Act]]


def answer_to(script: Script, path: str, *, delivery: str, nth: int, at: float, seed: int) -> str:
    """Return the answer to the ``nth`` request (from 1) of a delivery, ``at`` seconds after the start."""
    act = next((act for act in script.get(path, ()) if at < act.until), Act())
    if nth == 1 and act.first is not None:
        return act.first
    # Seeded by delivery instead of order of arrival, which differs in each run.
    chance = random.Random(f"{seed} {delivery} {nth}")
    return chance.choices(list(act.chances), weights=list(act.chances.values()))[0]


def as_json(script: Script) -> dict[str, Any]:
    """Serialize a script for the receiver's process."""
    return {
        path: [{"chances": dict(act.chances), "until": act.until, "first": act.first} for act in acts]
        for path, acts in script.items()
    }


def from_json(told: Mapping[str, Any]) -> Script:
    """Deserialize a script."""
    return {path: [Act(**act) for act in acts] for path, acts in told.items()}

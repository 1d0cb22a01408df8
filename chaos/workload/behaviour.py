"""The receiver's script: behavior by webhook and time, with random choices that a seed determines."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# The receiver's behaviors: answer at once, answer late, never answer, reset, or answer too slowly to ever finish.
ANSWERS = ("200", "500", "410", "slow", "slow-500", "hang", "reset", "drip")
# Seconds until a slow answer.
SLOW_SECONDS = 1.0

Weights = Mapping[str, int]
ALWAYS_OK: Weights = {"200": 1}


@dataclass(frozen=True)
class ReceiverBehaviour:
    """The behavior of a webhook's receiver until ``until`` seconds after the start.

    ``first``, if set, is the behaviour for the first request of each delivery; ``chances`` are weights.
    """

    weights: Weights = field(default_factory=lambda: ALWAYS_OK)
    until: float = float("inf")
    first: str | None = None


Script = Mapping[str, Sequence[ReceiverBehaviour]]


def answer_to(script: Script, path: str, *, delivery: str, nth: int, at: float, seed: int) -> str:
    """Return the answer to the ``nth`` request (from 1) of a delivery, ``at`` seconds after the start."""
    behaviour = next((behaviour for behaviour in script.get(path, ()) if at < behaviour.until), ReceiverBehaviour())
    if nth == 1 and behaviour.first is not None:
        return behaviour.first
    # Seeded by delivery instead of order of arrival, which differs in each run.
    rng = random.Random(f"{seed} {delivery} {nth}")
    return rng.choices(list(behaviour.weights), weights=list(behaviour.weights.values()))[0]


def as_json(script: Script) -> dict[str, Any]:
    """Serialize a script for the receiver's process."""
    return {
        path: [
            {"weights": dict(behaviour.weights), "until": behaviour.until, "first": behaviour.first}
            for behaviour in behaviours
        ]
        for path, behaviours in script.items()
    }


def from_json(script: Mapping[str, Any]) -> Script:
    """Deserialize a script."""
    return {path: [ReceiverBehaviour(**one) for one in behaviours] for path, behaviours in script.items()}

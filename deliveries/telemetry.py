"""One wide log line for each attempt."""

import json
import logging
from collections.abc import Container, Mapping, Sequence
from typing import Any

attempts = logging.getLogger("hookhub.attempts")


def tell_attempts(rows: Sequence[Mapping[str, Any]], *, ours: Container[int]) -> None:
    """Log what a batch of attempts came to, a JSON object a line; ``ours`` are the places of those whose lease held."""
    # One record for all of them: a record costs more than what there is to say of an attempt.
    if attempts.isEnabledFor(logging.INFO):
        lines = [line_of(row, was_ours=place in ours) for place, row in enumerate(rows)]
        attempts.info("%s", "\n".join(lines))


def line_of(row: Mapping[str, Any], *, was_ours: bool) -> str:
    """Tell of one attempt under the names a reader looks for; neither its headers nor its bodies are told."""
    facts: dict[str, object] = {
        "delivery": str(row["deliveries"]),
        "webhook": row["webhooks"],
        "attempt": row["numbers"],
        "outcome": row["outcomes"],
        "duration": str(row["durations"]),
        "state": row["states"],
        "was_ours": was_ours,
    }
    for name, column in (("status", "statuses"), ("error", "errors"), ("ending", "endings")):
        if row[column]:
            facts[name] = row[column]
    if row["due"]:
        facts["due_at"] = str(row["due"])
    return _encode(facts)


# One for all, where json.dumps would look at its options each time.
_encode = json.JSONEncoder().encode

"""One wide log line for each attempt."""

import json
import logging
from collections.abc import Container, Mapping, Sequence
from typing import Any

attempts = logging.getLogger("hookhub.attempts")


def tell_attempts(
    rows: Sequence[Mapping[str, Any]], *, ours: Container[int], known: Container[int] = frozenset()
) -> None:
    """Log what a batch of attempts came to, a JSON object a line.

    ``ours`` are the places of those whose lease held, ``known`` of those that were settled before, when it was not
    heard whether they were.
    """
    # One record for all of them: a record costs more than what there is to say of an attempt.
    if attempts.isEnabledFor(logging.INFO):
        lines = [line_of(row, was_ours=None if place in known else place in ours) for place, row in enumerate(rows)]
        attempts.info("%s", "\n".join(lines))


def line_of(row: Mapping[str, Any], *, was_ours: bool | None) -> str:
    """Tell of one attempt under the names a reader looks for; neither its headers nor its bodies are told.

    Whether a lease held when an attempt was settled before, and is gone since, nobody can tell any more.
    """
    facts: dict[str, object] = {
        "delivery": str(row["deliveries"]),
        "webhook": row["webhooks"],
        "attempt": row["numbers"],
        "outcome": row["outcomes"],
        "duration": str(row["durations"]),
        "state": row["states"],
        **({"was_settled_before": True} if was_ours is None else {"was_ours": was_ours}),
    }
    for name, column in (("status", "statuses"), ("error", "errors"), ("ending", "endings")):
        if row[column]:
            facts[name] = row[column]
    if row["due"]:
        facts["due_at"] = str(row["due"])
    return _encode(facts)


# One for all, where json.dumps would look at its options each time.
_encode = json.JSONEncoder().encode

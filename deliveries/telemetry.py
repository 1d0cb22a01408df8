"""One wide log line for each attempt."""

import json
import logging
from collections.abc import Mapping

attempts = logging.getLogger("hookhub.attempts")

# The columns of queue.SETTLE that are told, under the names a reader looks for; neither headers nor bodies are.
TOLD = {
    "deliveries": "delivery",
    "webhooks": "webhook",
    "numbers": "attempt",
    "outcomes": "outcome",
    "statuses": "status",
    "durations": "duration",
    "errors": "error",
    "states": "state",
    "endings": "ending",
    "due": "due_at",
}


def tell_attempt(row: Mapping[str, object], *, was_ours: bool) -> None:
    """Log what one attempt came to as one JSON object; ``was_ours`` is false when its lease had run out."""
    if attempts.isEnabledFor(logging.INFO):
        facts = {name: row[column] for column, name in TOLD.items() if row[column] not in {None, ""}}
        attempts.info("%s", json.dumps({**facts, "was_ours": was_ours}, default=str))

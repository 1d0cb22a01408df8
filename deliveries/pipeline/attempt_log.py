"""The attempt log: one wide log line per attempt."""

import json
import logging
from collections.abc import Container, Mapping, Sequence
from typing import Any

from deliveries.log_lines import chunk

attempts = logging.getLogger("hookhub.attempts")


def log_attempts(
    rows: Sequence[Mapping[str, Any]], *, applied: Container[int], known: Container[int] = frozenset()
) -> None:
    """Log a batch of attempts, one JSON object per line.

    ``applied`` holds the indexes of the rows whose lease held; ``known`` those of rows that an earlier transaction had
    settled, whose COMMIT was not confirmed.
    """
    if attempts.isEnabledFor(logging.INFO):
        lines = [line_of(row, was_ours=None if index in known else index in applied) for index, row in enumerate(rows)]
        for record in chunk(lines):
            attempts.info("%s", record)


def line_of(row: Mapping[str, Any], *, was_ours: bool | None) -> str:
    """Return an attempt as a JSON object, without headers and bodies.

    ``was_ours`` says whether the lease held; None means that the attempt had been settled before, when it is unknown.
    """
    # Formatted by hand, at half the cost of the JSON encoder: only an error can contain characters to be escaped.
    fencing = '"was_settled_before": true' if was_ours is None else f'"was_ours": {"true" if was_ours else "false"}'
    line = (
        f'{{"delivery": "{row["deliveries"]}", "webhook": {row["webhooks"]}, '
        f'"organization": "{row["organizations"]}", "attempt": {row["numbers"]}, '
        f'"outcome": "{row["outcomes"]}", "duration": "{row["durations"]}", "state": "{row["states"]}", {fencing}'
    )
    if row["traces"]:
        line += f', "trace": "{row["traces"]}"'
    if row["statuses"]:
        line += f', "status": {row["statuses"]}'
    if row["errors"]:
        line += f', "error": {json.dumps(row["errors"])}'
    if row["finish_reasons"]:
        line += f', "finish_reason": "{row["finish_reasons"]}"'
    if row["due"]:
        line += f', "due_at": "{row["due"]}"'
    return line + "}"

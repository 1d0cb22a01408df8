"""The attempt log: one wide log line per attempt."""

import json
import logging
import select
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

attempts = logging.getLogger("hookhub.attempts")

# Writes to a pipe are atomic up to this many bytes (POSIX: at least 512; Linux: 4096). Longer writes of a worker's
# processes to their common pipe could be interleaved. The lines are ASCII.
PIPE_ATOMIC = select.PIPE_BUF


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


def chunk(lines: Iterable[str]) -> Iterator[str]:
    """Join lines into log records that are written atomically, because a record costs more than its line."""
    record = ""
    for line in lines:
        if record and len(record) + len(line) + 2 > PIPE_ATOMIC:
            yield record
            record = ""
        record = f"{record}\n{line}" if record else line
    if record:
        yield record


def line_of(row: Mapping[str, Any], *, was_ours: bool | None) -> str:
    """Return an attempt as a JSON object, without headers and bodies.

    ``was_ours`` says whether the lease held; None means that the attempt had been settled before, when it is unknown.
    """
    # Formatted by hand, at half the cost of the JSON encoder: only an error can contain characters to be escaped.
    fencing = '"was_settled_before": true' if was_ours is None else f'"was_ours": {"true" if was_ours else "false"}'
    line = (
        f'{{"delivery": "{row["deliveries"]}", "webhook": {row["webhooks"]}, "attempt": {row["numbers"]}, '
        f'"outcome": "{row["outcomes"]}", "duration": "{row["durations"]}", "state": "{row["states"]}", {fencing}'
    )
    if row["statuses"]:
        line += f', "status": {row["statuses"]}'
    if row["errors"]:
        line += f', "error": {json.dumps(row["errors"])}'
    if row["finish_reasons"]:
        line += f', "finish_reason": "{row["finish_reasons"]}"'
    if row["due"]:
        line += f', "due_at": "{row["due"]}"'
    return line + "}"

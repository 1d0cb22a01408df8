"""One wide log line for each attempt."""

import json
import logging
import select
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

attempts = logging.getLogger("hookhub.attempts")

# What a worker's processes write into their common pipe stays in one piece up to so many bytes (POSIX: at least 512;
# Linux: 4096); of a longer one the lines could be mixed with another's. The lines are ASCII.
WHOLE = select.PIPE_BUF


def tell_attempts(
    rows: Sequence[Mapping[str, Any]], *, ours: Container[int], known: Container[int] = frozenset()
) -> None:
    """Log what a batch of attempts came to, a JSON object a line.

    ``ours`` are the places of those whose lease held, ``known`` of those that were settled before, when it was not
    heard whether they were.
    """
    if attempts.isEnabledFor(logging.INFO):
        lines = [line_of(row, was_ours=None if place in known else place in ours) for place, row in enumerate(rows)]
        for record in records_of(lines):
            attempts.info("%s", record)


def records_of(lines: Iterable[str]) -> Iterator[str]:
    """Put lines together as far as they stay whole, for a record costs more than what there is to say of an attempt."""
    record = ""
    for line in lines:
        if record and len(record) + len(line) + 2 > WHOLE:
            yield record
            record = ""
        record = f"{record}\n{line}" if record else line
    if record:
        yield record


def line_of(row: Mapping[str, Any], *, was_ours: bool | None) -> str:
    """Tell of one attempt under the names a reader looks for; neither its headers nor its bodies are told.

    Whether a lease held when an attempt was settled before, and is gone since, nobody can tell any more.
    """
    # Written by hand, at half of what the encoder costs: none of these but an error can hold what JSON has to escape.
    standing = '"was_settled_before": true' if was_ours is None else f'"was_ours": {"true" if was_ours else "false"}'
    line = (
        f'{{"delivery": "{row["deliveries"]}", "webhook": {row["webhooks"]}, "attempt": {row["numbers"]}, '
        f'"outcome": "{row["outcomes"]}", "duration": "{row["durations"]}", "state": "{row["states"]}", {standing}'
    )
    if row["statuses"]:
        line += f', "status": {row["statuses"]}'
    if row["errors"]:
        line += f', "error": {json.dumps(row["errors"])}'
    if row["endings"]:
        line += f', "ending": "{row["endings"]}"'
    if row["due"]:
        line += f', "due_at": "{row["due"]}"'
    return line + "}"

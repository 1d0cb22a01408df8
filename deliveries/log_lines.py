"""Log lines that several processes write to one pipe without mixing them up."""

import select
from collections.abc import Iterable, Iterator

# Writes to a pipe are atomic up to this many bytes (POSIX: at least 512; Linux: 4096). Longer writes of a worker's
# processes to their common pipe could be interleaved. The lines are ASCII.
PIPE_ATOMIC = select.PIPE_BUF


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

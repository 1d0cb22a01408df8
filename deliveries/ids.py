"""Ids that sort by time: UUID version 7 (RFC 9562), made here so that the moment can be passed in."""

import os
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Threads read their clocks and come here in another order, and a full millisecond borrows from the next ones: an id
# asked for at most this late follows the last one made. Who is further behind has travelled, and gets its own time.
_LATE_MOST = 100
_lock = threading.Lock()
_last = (0, 0)


def uuid7(at: datetime) -> UUID:
    """Give an id of that moment that sorts after every id this process made for it or shortly before."""
    global _last  # noqa: PLW0603 - the counter that keeps ids of one millisecond in order is the process's own
    millisecond = (at - _EPOCH) // _MILLISECOND
    with _lock:
        before, count = _last
        millisecond, count = (before, count + 1) if 0 <= before - millisecond <= _LATE_MOST else (millisecond, 0)
        # The counter field has 12 bits; a fuller millisecond borrows from the next one.
        millisecond, count = millisecond + (count >> 12), count & 0xFFF
        _last = (millisecond, count)
    rest = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=(millisecond & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | count << 64 | 0b10 << 62 | rest)


def first_id_at(at: datetime) -> UUID:
    """Give the smallest id of the given moment: every id made earlier sorts below it."""
    return UUID(int=((at - _EPOCH) // _MILLISECOND) << 80 | 0x7 << 76 | 0b10 << 62)

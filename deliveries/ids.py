"""Ids that sort by time: UUID version 7 (RFC 9562), made here so that the moment can be passed in."""

import os
import struct
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Threads read their clocks and come here in another order, and a full millisecond borrows from the next ones: an id
# asked for at most this late follows the last one made. Who is further behind has travelled, and gets its own time.
_LATE_MOST = 100
# The bits that tell the ids of one millisecond apart; when there are more ids than that, the millisecond counts on.
_COUNTER_BITS = 12
_COUNTER = (1 << _COUNTER_BITS) - 1
_lock = threading.Lock()
_last = 0


def uuid7(at: datetime) -> UUID:
    """Give an id of that moment that sorts after every id this process made for it or shortly before."""
    return uuid7s(at, 1)[0]


def uuid7s(at: datetime, count: int) -> list[UUID]:
    """Give so many ids of that moment, in order, which sort after every id this process made before them."""
    global _last  # noqa: PLW0603 - the counter that keeps ids of one millisecond in order is the process's own
    millisecond = (at - _EPOCH) // _MILLISECOND
    with _lock:
        late = (_last >> _COUNTER_BITS) - millisecond
        first = _last + 1 if 0 <= late <= _LATE_MOST else millisecond << _COUNTER_BITS
        _last = first + count - 1
    randoms = struct.unpack(f">{count}Q", os.urandom(8 * count))
    return [
        UUID(
            int=(tick >> _COUNTER_BITS & 0xFFFF_FFFF_FFFF) << 80
            | 0x7 << 76
            | (tick & _COUNTER) << 64
            | 0b10 << 62
            | random & 0x3FFF_FFFF_FFFF_FFFF
        )
        for tick, random in enumerate(randoms, first)
    ]


def first_id_at(at: datetime) -> UUID:
    """Give the smallest id of the given moment: every id made earlier sorts below it."""
    return UUID(int=((at - _EPOCH) // _MILLISECOND) << 80 | 0x7 << 76 | 0b10 << 62)

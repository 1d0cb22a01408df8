"""Generate UUIDs of version 7 (RFC 9562), which sort by time, for a time that is passed in."""

import os
import struct
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

# The SQL expression for a new delivery's id: the first half of its event's id, which holds the time, then random bits.
# So the log and the queue are in the order in which the events were accepted.
DELIVERY_ID = "encode(substring(uuid_send(e.id) FOR 8) || substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# The time passed in may lag behind the last id, because threads read the clock and arrive here in different orders and
# because a full millisecond borrows from the next. Up to this many milliseconds, the new id follows the last one; with
# a larger lag the clock was set back, and the id gets the time passed in.
_MAX_LATE = 100
# The bits of the counter within a millisecond; if it overflows, the ids continue in the next millisecond.
_COUNTER_BITS = 12
_COUNTER = (1 << _COUNTER_BITS) - 1
_lock = threading.Lock()
_last = 0


def uuid7(at: datetime) -> UUID:
    """Return an id for the time ``at`` that sorts after every id this process has made for it or shortly before."""
    return uuid7s(at, 1)[0]


def uuid7s(at: datetime, count: int) -> list[UUID]:
    """Return ``count`` ascending ids for the time ``at``; like ``uuid7``, they sort after those made before."""
    global _last  # noqa: PLW0603 - one counter per process keeps the ids of a millisecond in order
    millisecond = (at - _EPOCH) // _MILLISECOND
    with _lock:
        late = (_last >> _COUNTER_BITS) - millisecond
        first = _last + 1 if 0 <= late <= _MAX_LATE else millisecond << _COUNTER_BITS
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
    """Return the smallest id for the time ``at``: every id made for an earlier time sorts before it.

    There are no ids for times before 1970, where a long retention begins.
    """
    return UUID(int=max(0, (at - _EPOCH) // _MILLISECOND) << 80 | 0x7 << 76 | 0b10 << 62)


def time_of(identifier: UUID) -> datetime:
    """Return the time for which an id was made, to the millisecond."""
    return _EPOCH + (identifier.int >> 80) * _MILLISECOND

"""What an operator sees and does: how much waits in the stream, and the entries that were set aside."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError, WatchError

from hookhub.stream.consumer import GROUP, ask, entries_of, refused_of
from hookhub.stream.entries import Entry

PAGE = 100
# The fields that come before the producer's own in an entry that was set aside.
OURS = (b"error", b"entry", b"refused_at")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many entries wait to be taken, were taken and are not stored yet, and were set aside.

    ``oldest_at`` is when Redis took the oldest of those in the stream, or None when it is empty.
    """

    waiting: int
    in_hand: int
    refused: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """An entry that was refused: its id among the refused, what is wrong, and what its producer wrote, in order."""

    id: str
    error: str
    entry_id: str
    refused_at: datetime
    fields: Sequence[bytes]


def count(client: Redis, stream: str) -> Counts:
    """Count what is in the stream and beside it."""
    with client.pipeline(transaction=False) as asking:
        asking.xlen(stream)
        asking.xlen(refused_of(stream))
        ask(asking, "XRANGE", stream, "-", "+", "COUNT", 1)
        asking.xpending(stream, GROUP)
        length, refused, oldest, pending = asking.execute(raise_on_error=False)
    for answer in (length, refused, oldest):
        if isinstance(answer, Exception):
            raise answer
    # Without a group no worker has looked yet.
    in_hand = 0 if isinstance(pending, ResponseError) else int(pending["pending"])
    first = entries_of(oldest)
    return Counts(
        waiting=max(0, length - in_hand),
        in_hand=in_hand,
        refused=refused,
        oldest_at=_moment(first[0].id) if first else None,
    )


def set_aside(client: Redis, stream: str) -> Iterator[SetAside]:
    """Give the refused entries, the oldest first; those refused from now on are not among them."""
    aside = refused_of(stream)
    last = ask(client, "XREVRANGE", aside, "+", "-", "COUNT", 1)
    if not last:
        return
    after, end = "-", last[0][0]
    while page := entries_of(ask(client, "XRANGE", aside, after, end, "COUNT", PAGE)):
        yield from map(_read, page)
        after = f"({page[-1].id}"


def find(client: Redis, stream: str, refused_id: str) -> SetAside | None:
    """Give one refused entry, or None when there is none of that id any more."""
    found = entries_of(ask(client, "XRANGE", refused_of(stream), refused_id, refused_id))
    return _read(found[0]) if found else None


def retry(client: Redis, stream: str, refused_id: str) -> bool:
    """Put a refused entry back into the stream as its producer wrote it; tell whether it was still there."""
    aside = refused_of(stream)
    while True:
        transaction: Any
        with client.pipeline() as transaction:
            # Another operator may do the same at this moment, and it must not be put back twice.
            transaction.watch(aside)
            found = entries_of(ask(transaction, "XRANGE", aside, refused_id, refused_id))
            if not found:
                return False
            transaction.multi()
            ask(transaction, "XADD", stream, "*", *_read(found[0]).fields)
            transaction.xdel(aside, refused_id)
            try:
                transaction.execute()
            except WatchError:
                continue
            return True


def delete(client: Redis, stream: str, refused_id: str) -> bool:
    """Delete a refused entry for good; tell whether it was still there."""
    return bool(client.xdel(refused_of(stream), refused_id))


def _read(entry: Entry) -> SetAside:
    size = 2 * len(OURS)
    if tuple(entry.fields[:size:2]) != OURS:
        moment = _moment(entry.id) or datetime.now(UTC)
        return SetAside(entry.id, "not set aside by a worker", entry.id, moment, entry.fields)
    error, entry_id, refused_at = (value.decode(errors="replace") for value in entry.fields[1:size:2])
    return SetAside(entry.id, error, entry_id, datetime.fromisoformat(refused_at), entry.fields[size:])


def _moment(entry_id: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None

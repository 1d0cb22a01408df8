"""The operator's view of the stream: counts, and the entries in the dead-letter stream, to retry or delete."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError, WatchError

from hookhub.publishing.redis_stream.consumer import GROUP, ask, dead_letter_stream, entries_of
from hookhub.publishing.redis_stream.entries import Entry

PAGE = 100
# The fields that precede the producer's own in a dead letter.
OURS = (b"error", b"entry", b"refused_at")


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of entries that are unread, pending (read but not stored yet), and dead-lettered.

    ``oldest_at`` is the time at which Redis accepted the oldest entry of the stream, or None if the stream is empty.
    """

    waiting: int
    in_hand: int
    refused: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter: ``id`` in the dead-letter stream, ``entry_id`` in the stream, and the producer's own fields."""

    id: str
    error: str
    entry_id: str
    refused_at: datetime
    fields: Sequence[bytes]


def count(client: Redis, stream: str) -> Counts:
    """Count the entries of the stream and of its dead-letter stream; raise redis-py's errors."""
    with client.pipeline(transaction=False) as asking:
        asking.xlen(stream)
        asking.xlen(dead_letter_stream(stream))
        ask(asking, "XRANGE", stream, "-", "+", "COUNT", 1)
        asking.xpending(stream, GROUP)
        length, refused, oldest, pending = asking.execute(raise_on_error=False)
    for answer in (length, refused, oldest):
        if isinstance(answer, Exception):
            raise answer
    # There is no group until a worker has read the stream for the first time.
    in_hand = 0 if isinstance(pending, ResponseError) else int(pending["pending"])
    first = entries_of(oldest)
    return Counts(
        waiting=max(0, length - in_hand),
        in_hand=in_hand,
        refused=refused,
        oldest_at=_moment(first[0].id) if first else None,
    )


def iterate(client: Redis, stream: str) -> Iterator[DeadLetter]:
    """Yield the dead letters, oldest first, up to the newest one at the time of the call."""
    letters = dead_letter_stream(stream)
    last = ask(client, "XREVRANGE", letters, "+", "-", "COUNT", 1)
    if not last:
        return
    after, end = "-", last[0][0]
    while page := entries_of(ask(client, "XRANGE", letters, after, end, "COUNT", PAGE)):
        yield from map(_read, page)
        after = f"({page[-1].id}"


def find(client: Redis, stream: str, letter_id: str) -> DeadLetter | None:
    """Return one dead letter, or None if there is none with this id."""
    found = entries_of(ask(client, "XRANGE", dead_letter_stream(stream), letter_id, letter_id))
    return _read(found[0]) if found else None


def retry(client: Redis, stream: str, letter_id: str) -> bool:
    """Move a dead letter back to the stream as its producer wrote it; return whether it was still there."""
    letters = dead_letter_stream(stream)
    # Fails if that is no stream. The transaction would fail at XADD only, and delete the dead letter all the same.
    client.xlen(stream)
    while True:
        transaction: Any
        with client.pipeline() as transaction:
            # WATCH: it must not be moved back twice if two operators retry it at the same time.
            transaction.watch(letters)
            found = entries_of(ask(transaction, "XRANGE", letters, letter_id, letter_id))
            if not found:
                return False
            transaction.multi()
            ask(transaction, "XADD", stream, "*", *_read(found[0]).fields)
            transaction.xdel(letters, letter_id)
            try:
                transaction.execute()
            except WatchError:
                continue
            return True


def delete(client: Redis, stream: str, letter_id: str) -> bool:
    """Delete a dead letter permanently; return whether it was still there."""
    return bool(client.xdel(dead_letter_stream(stream), letter_id))


def _read(entry: Entry) -> DeadLetter:
    size = 2 * len(OURS)
    if tuple(entry.fields[:size:2]) != OURS:
        moment = _moment(entry.id) or datetime.now(UTC)
        return DeadLetter(entry.id, "not written by a worker", entry.id, moment, entry.fields)
    error, entry_id, refused_at = (value.decode(errors="replace") for value in entry.fields[1:size:2])
    return DeadLetter(entry.id, error, entry_id, datetime.fromisoformat(refused_at), entry.fields[size:])


def _moment(entry_id: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None

"""Moves entries from the stream to the database in batches: read, store, and only then acknowledge and delete."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum

from django.conf import settings
from redis.exceptions import OutOfMemoryError, ResponseError

from hookhub.publishing.redis_stream.consumer import START, Consumer
from hookhub.publishing.redis_stream.entries import Entry, Readable, Refused, read
from hookhub.publishing.redis_stream.ingest import store

Clock = Callable[[], datetime]

log = logging.getLogger("hookhub.stream")

# Entries in one batch. The first batch is small because the size of entries is unknown; each may double the last.
FIRST = 16
MAX_READ = 500
# Target size of a batch, estimated from the entries of the last one.
MAX_READ_BYTES = 16 << 20
# How often the reader looks for pending entries, its own and stale ones of other consumers.
LOOK_BEHIND_EVERY = timedelta(seconds=10)
# Every start of a worker creates a consumer. One whose worker was killed is deleted once it has been idle this long.
FORGET_AFTER = timedelta(hours=1)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Behind(Enum):
    """Which pending entries the reader processes before it reads new ones."""

    OWN = "its own pending entries"
    ABANDONED = "stale entries of other consumers"
    NOTHING = "none"


class Reader:
    """Reads the stream as one consumer; an entry stays pending until it has been stored or dead-lettered."""

    def __init__(self, consumer: Consumer, *, clock: Clock) -> None:
        self.consumer = consumer
        self._clock = clock
        self._count = FIRST
        self._behind = Behind.OWN
        self._looked_at = LONG_AGO
        self._forgot_at = LONG_AGO
        self._cursor = START

    def take(self, *, block: timedelta | None = None) -> int:
        """Move one batch from the stream to the database, and return the number of its entries.

        Wait up to ``block`` for the first one. Raise redis-py's and django.db's errors; retrying is safe.
        """
        try:
            entries = self._next(now=self._clock(), block=block)
            if entries:
                # Read the clock again: the read may have blocked.
                self._publish(entries, now=self._clock())
                self._count = next_count(entries, before=self._count)
        except Exception:
            # The batch is still pending for this consumer, and so may be entries whose response from Redis was lost.
            self._behind, self._cursor, self._count = Behind.OWN, START, FIRST
            raise
        return len(entries)

    def _next(self, *, now: datetime, block: timedelta | None) -> list[Entry]:
        """Return the next batch: pending entries if there are any and a look is due, new entries otherwise."""
        # The lower bound keeps the checks going after the clock was set back.
        if not self._looked_at <= now < self._looked_at + LOOK_BEHIND_EVERY:
            self._behind, self._looked_at = Behind.OWN, now
        if self._behind is Behind.OWN:
            if entries := self.consumer.own(self._count):
                return entries
            self._behind = Behind.ABANDONED
        if self._behind is Behind.ABANDONED:
            self._cursor, entries = self.consumer.abandoned(
                self._count, idle=settings.HOOKHUB_LEASE, cursor=self._cursor
            )
            if self._cursor == START:
                self._behind = Behind.NOTHING
                self._reopen(now)
                self._forget_the_gone(now)
            if entries:
                log.warning("Claimed %d stale entries of other consumers", len(entries))
                return entries
        return self.consumer.new(self._count, block=block)

    def _publish(self, entries: Sequence[Entry], *, now: datetime) -> None:
        """Store a batch, then acknowledge it; move its invalid entries to the dead-letter stream."""
        outcomes = [_read_or_refuse(entry) for entry in entries if entry.fields]
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        refused += store([outcome for outcome in outcomes if isinstance(outcome, Readable)], now=now)
        guilty = {each.entry.id for each in refused}
        self.consumer.finish([entry for entry in entries if entry.id not in guilty])
        if refused:
            self._set_aside(refused, now=now)

    def _set_aside(self, refused: Sequence[Refused], *, now: datetime) -> None:
        first = refused[0]
        log.warning(
            "Moving %d invalid entries to the dead-letter stream; the first, %s: %s",
            len(refused),
            first.entry.id,
            first.error[:500],
        )
        try:
            self.consumer.set_aside(refused, now=now)
        except OutOfMemoryError:
            # They stay pending until the next check. Meanwhile continue with other entries: only reading the stream
            # frees memory in Redis.
            log.warning("Redis is out of memory for the dead-letter stream; the invalid entries stay pending for now")
            if self._behind is Behind.OWN:
                self._behind = Behind.ABANDONED

    def _reopen(self, now: datetime) -> None:
        try:
            if self.consumer.reopen(now=now):
                log.warning("Recreated the stream: a producer had chosen an entry id far in the future")
        except ResponseError as error:
            log.warning("Redis rejected the check for entry ids far in the future: %s", error)

    def _forget_the_gone(self, now: datetime) -> None:
        if self._forgot_at <= now < self._forgot_at + FORGET_AFTER:
            return
        self._forgot_at = now
        try:
            self.consumer.forget(idle=FORGET_AFTER)
        except ResponseError as error:
            # Harmless for a long time: the list of consumers grows by one name with each killed worker.
            log.warning("Redis rejected the deletion of idle consumers: %s", error)


def next_count(entries: Sequence[Entry], *, before: int) -> int:
    """Return the size of the next batch: at most twice the last one, and within the target in bytes."""
    size = max(1, sum(entry.size for entry in entries))
    return max(1, min(MAX_READ, 2 * before, MAX_READ_BYTES * len(entries) // size))


def _read_or_refuse(entry: Entry) -> Readable | Refused:
    try:
        return read(entry)
    except MemoryError:
        raise
    except Exception as error:  # A bug of ours that one entry triggers must not block the entries behind it.
        log.exception("Failed to parse entry %s", entry.id)
        return Refused(entry, f"Internal error: {error!r}")

"""Moves entries from the stream to the database in batches: read, store, and only then acknowledge and delete."""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum

from django.conf import settings
from redis.exceptions import ResponseError

from deliveries import telemetry
from hookhub.publishing.redis_stream.consumer import START, Consumer
from hookhub.publishing.redis_stream.entries import Entry, InvalidEntry, ParsedEntry, moment_of, read
from hookhub.publishing.redis_stream.ingest import store

Clock = Callable[[], datetime]

log = logging.getLogger("hookhub.stream")

# Entries in one batch. The first batch is small because the size of entries is unknown; each may double the last.
FIRST_BATCH = 16
MAX_READ = 500
# Target size of a batch, estimated from the entries of the last one.
MAX_READ_BYTES = 16 << 20
# How often the reader looks for pending entries, its own and stale ones of other consumers.
PENDING_CHECK_INTERVAL = timedelta(seconds=10)
# Every start of a worker creates a consumer. One whose worker was killed is deleted once it has been idle this long.
DEREGISTER_AFTER = timedelta(hours=1)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Pending(Enum):
    """Which pending entries the reader processes before it reads new ones."""

    OWN = "its own pending entries"
    STALE = "stale entries of other consumers"
    NONE = "none"


class Reader:
    """Reads the stream as one consumer; an entry stays pending until it has been stored or dead-lettered."""

    def __init__(self, consumer: Consumer, *, clock: Clock) -> None:
        self.consumer = consumer
        self._clock = clock
        self._count = FIRST_BATCH
        self._pending = Pending.OWN
        self._checked_at = LONG_AGO
        self._deregistered_at = LONG_AGO
        # How far each kind of pending entries has been read: its own, and those of others.
        self._own = self._cursor = START

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
            self._pending, self._own, self._cursor, self._count = Pending.OWN, START, START, FIRST_BATCH
            raise
        return len(entries)

    def _next(self, *, now: datetime, block: timedelta | None) -> list[Entry]:
        """Return the next batch: pending entries if there are any and a look is due, new entries otherwise."""
        # The lower bound keeps the checks going after the clock was set back.
        is_due = not self._checked_at <= now < self._checked_at + PENDING_CHECK_INTERVAL
        if is_due and self._pending is Pending.NONE:
            self._pending = Pending.OWN
        if self._pending is Pending.OWN:
            if entries := self.consumer.pending(self._count, after=self._own):
                # What cannot be stored for now stays pending, and must not keep what is behind it from being read.
                self._own = entries[-1].id
                return entries
            self._pending, self._own = Pending.STALE, START
        if self._pending is Pending.STALE:
            self._cursor, entries = self.consumer.claim_stale(
                self._count, idle=settings.HOOKHUB_LEASE, cursor=self._cursor
            )
            if self._cursor == START:
                # From the end on, so that new entries are read in between, however long a check takes.
                self._pending, self._checked_at = Pending.NONE, now
                self._reopen(now)
                self._deregister_idle(now)
            if entries:
                log.warning("Claimed %d stale entries of other consumers", len(entries))
                return entries
        return self.consumer.new(self._count, block=block)

    def _publish(self, entries: Sequence[Entry], *, now: datetime) -> None:
        """Store a batch, then acknowledge it; move its invalid entries to the dead-letter stream.

        Entries that wait for another transaction stay pending until the next check.
        """
        outcomes = [_parse_or_reject(entry) for entry in entries if entry.fields]
        rejected = [outcome for outcome in outcomes if isinstance(outcome, InvalidEntry)]
        refused, waiting = store([outcome for outcome in outcomes if isinstance(outcome, ParsedEntry)], now=now)
        rejected += refused
        not_stored = {each.entry.id for each in rejected} | {entry.id for entry in waiting}
        self.consumer.acknowledge([entry for entry in entries if entry.id not in not_stored])
        if waiting and self._pending is Pending.NONE:
            log.warning("Entries that wait for another transaction, which holds a lock: %d", len(waiting))
        if telemetry.is_observed():
            stored = [entry.id for entry in entries if entry.fields and entry.id not in not_stored]
            telemetry.stream_stored(waits_of(stored, now=self._clock()))
        if rejected:
            telemetry.stream_refused([each.status for each in rejected])
            self._dead_letter(rejected, now=now)

    def _dead_letter(self, rejected: Sequence[InvalidEntry], *, now: datetime) -> None:
        first = rejected[0]
        log.warning(
            "Moving %d invalid entries to the dead-letter stream; the first, %s: %s",
            len(rejected),
            first.entry.id,
            first.error[:500],
        )
        try:
            self.consumer.dead_letter(rejected, now=now)
        except ResponseError as error:
            # They stay pending until the next check. Meanwhile continue with other entries, which those would block:
            # only reading the stream frees memory in Redis.
            log.warning("Redis takes no dead letters (%s); the invalid entries stay pending for now", error)

    def _reopen(self, now: datetime) -> None:
        try:
            if self.consumer.reopen(now=now):
                log.warning("Recreated the stream: a producer had chosen an entry id far in the future")
        except ResponseError as error:
            log.warning("Redis rejected the check for entry ids far in the future: %s", error)

    def _deregister_idle(self, now: datetime) -> None:
        if self._deregistered_at <= now < self._deregistered_at + DEREGISTER_AFTER:
            return
        self._deregistered_at = now
        try:
            self.consumer.deregister_idle(idle=DEREGISTER_AFTER)
        except ResponseError as error:
            # Harmless for a long time: the list of consumers grows by one name with each killed worker.
            log.warning("Redis rejected the deletion of idle consumers: %s", error)


def next_count(entries: Sequence[Entry], *, before: int) -> int:
    """Return the size of the next batch: at most twice the last one, and within the target in bytes."""
    size = max(1, sum(entry.size for entry in entries))
    return max(1, min(MAX_READ, 2 * before, MAX_READ_BYTES * len(entries) // size))


def _parse_or_reject(entry: Entry) -> ParsedEntry | InvalidEntry:
    try:
        return read(entry)
    except MemoryError:
        raise
    except Exception as error:  # A bug of ours that one entry triggers must not block the entries behind it.
        log.exception("Failed to parse entry %s", entry.id)
        return InvalidEntry(entry, f"Internal error: {error!r}", 500)


def waits_of(entry_ids: Iterable[str], *, now: datetime) -> list[float]:
    """Return how many seconds ago Redis accepted each entry; 0 if a producer has chosen an id that is no time."""
    return [(now - moment_of(entry_id, now=now)).total_seconds() for entry_id in entry_ids]

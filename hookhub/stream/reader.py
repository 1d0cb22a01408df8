"""What one worker does with the stream, a batch at a time: take entries, store them, and only then take them out."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum

from django.conf import settings
from redis.exceptions import OutOfMemoryError, ResponseError

from hookhub.stream.consumer import START, Consumer
from hookhub.stream.entries import Entry, Readable, Refused, read
from hookhub.stream.storing import store

Clock = Callable[[], datetime]

log = logging.getLogger("hookhub.stream")

# Entries of one batch: the first is small, because nobody knows yet how long they are, and each may be twice the last.
FIRST = 16
MOST = 500
# What a batch should be at most, if its entries are like those before.
BYTES_MOST = 16 << 20
# How often the reader looks for what was left behind, by itself or by others.
LOOK_BEHIND_EVERY = timedelta(seconds=10)
# Consumers come with every start of a worker, and those that were killed are forgotten after a while.
FORGET_AFTER = timedelta(hours=1)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Behind(Enum):
    """Where the reader looks before it takes anything new."""

    OWN = "what it took itself and did not finish"
    ABANDONED = "what others took and left alone"
    NOTHING = "nowhere"


class Reader:
    """Takes entries through one consumer; whatever goes wrong, each is pending until it is stored or set aside."""

    def __init__(self, consumer: Consumer, *, clock: Clock) -> None:
        self.consumer = consumer
        self._clock = clock
        self._count = FIRST
        self._behind = Behind.OWN
        self._looked_at = LONG_AGO
        self._forgot_at = LONG_AGO
        self._cursor = START

    def take(self, *, block: timedelta | None = None) -> int:
        """Take one batch from the stream to the database, and give how many entries that was.

        Waits up to ``block`` for the first one. Raises redis-py's and django.db's errors; to try again later is safe.
        """
        try:
            entries = self._next(now=self._clock(), block=block)
            if entries:
                # Asked again, because they may have been a while in coming.
                self._publish(entries, now=self._clock())
                self._count = next_count(entries, before=self._count)
        except Exception:
            # What was taken is still pending for us, and there may be more: an answer of Redis can get lost.
            self._behind, self._cursor, self._count = Behind.OWN, START, FIRST
            raise
        return len(entries)

    def _next(self, *, now: datetime, block: timedelta | None) -> list[Entry]:
        """Take what was left behind, from time to time, and otherwise what is new."""
        # A clock that was set back must not keep it from looking.
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
                log.warning("Took over %d entries whose workers did not finish them", len(entries))
                return entries
        return self.consumer.new(self._count, block=block)

    def _publish(self, entries: Sequence[Entry], *, now: datetime) -> None:
        """Store a batch and then take it out of the stream; what will not do is set aside."""
        outcomes = [_read_or_refuse(entry) for entry in entries if entry.fields]
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        refused += store([outcome for outcome in outcomes if isinstance(outcome, Readable)], now=now)
        guilty = {each.entry.id for each in refused}
        self.consumer.finish([entry for entry in entries if entry.id not in guilty])
        if refused:
            self._set_aside(refused, now=now)

    def _set_aside(self, refused: Sequence[Refused], *, now: datetime) -> None:
        first = refused[0]
        log.warning("Set aside %d entries; the first, %s: %s", len(refused), first.entry.id, first.error[:500])
        try:
            self.consumer.set_aside(refused, now=now)
        except OutOfMemoryError:
            # They wait in the stream for the next look behind. The others must be read meanwhile, or a Redis that is
            # full of them would stay so.
            log.warning("Redis has no memory for what is set aside; it stays in the stream for now")
            if self._behind is Behind.OWN:
                self._behind = Behind.ABANDONED

    def _reopen(self, now: datetime) -> None:
        try:
            if self.consumer.reopen(now=now):
                log.warning("The stream ended with an id far in the future, of a producer's own; it was made anew")
        except ResponseError as error:
            log.warning("Redis does not let the stream be looked at, or made anew: %s", error)

    def _forget_the_gone(self, now: datetime) -> None:
        if self._forgot_at <= now < self._forgot_at + FORGET_AFTER:
            return
        self._forgot_at = now
        try:
            self.consumer.forget(idle=FORGET_AFTER)
        except ResponseError as error:
            # A list that grows by a name with each killed worker does no harm for a long time.
            log.warning("Redis does not let workers that are gone be forgotten: %s", error)


def next_count(entries: Sequence[Entry], *, before: int) -> int:
    """Give how many entries to take next, so that a batch is neither many times the last one nor too many bytes."""
    size = max(1, sum(entry.size for entry in entries))
    return max(1, min(MOST, 2 * before, BYTES_MOST * len(entries) // size))


def _read_or_refuse(entry: Entry) -> Readable | Refused:
    try:
        return read(entry)
    except MemoryError:
        raise
    except Exception as error:  # A bug of ours that one entry brings to light must not stop all those behind it.
        log.exception("The entry %s cannot be read", entry.id)
        return Refused(entry, f"HookHub made a mistake with it: {error!r}")

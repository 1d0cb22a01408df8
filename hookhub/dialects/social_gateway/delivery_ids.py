"""Derives from an attempt's id the number by which GitHub's clients identify it, and finds the attempt by it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from deliveries.models import Attempt, Webhook

# JavaScript represents integers of up to 53 bits exactly, which is less than half of an id. So a number keeps the parts
# of the id that distinguish the attempts of one webhook: the millisecond, in a span far longer than any log is kept;
# the counter, as far as a worker's batches count; and some random bits, for workers that settle in the same
# millisecond.
MILLISECOND_BITS = 38
COUNTER_BITS = 8
RANDOM_BITS = 7
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_SINCE_1970 = (EPOCH - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
_SPAN = 1 << MILLISECOND_BITS
# How far another machine's clock may be ahead of ours.
MAX_CLOCK_SKEW = timedelta(minutes=10)


def number_of(attempt_id: UUID) -> int:
    """Return the number of an attempt; later attempts have larger ones, until the span starts over after 8.7 years."""
    bits = attempt_id.int
    millisecond = ((bits >> 80) - _SINCE_1970) % _SPAN
    counter = bits >> 64 & (1 << COUNTER_BITS) - 1
    return millisecond << COUNTER_BITS + RANDOM_BITS | counter << RANDOM_BITS | bits & (1 << RANDOM_BITS) - 1


def bounds_of(number: int, *, now: datetime) -> tuple[UUID, UUID]:
    """Return the first id that an attempt with this number can have, and the first id that is too large for it."""
    latest = (now + MAX_CLOCK_SKEW - EPOCH) // timedelta(milliseconds=1)
    millisecond = latest - (latest - (number >> COUNTER_BITS + RANDOM_BITS)) % _SPAN + _SINCE_1970
    return UUID(int=millisecond << 80), UUID(int=millisecond + 1 << 80)


def attempts_numbered(webhook: Webhook, number: int, *, now: datetime) -> list[Attempt]:
    """Return the attempts of a webhook that have this number, oldest first: at most one, except in rare cases.

    Two have the same number only if two workers settled them in the same millisecond, at the same position in their
    batches, and their random bits are the same too, as in one of 128 such pairs.
    """
    if number >> MILLISECOND_BITS + COUNTER_BITS + RANDOM_BITS:
        return []
    first, beyond = bounds_of(number, now=now)
    near = Attempt.objects.filter(webhook=webhook, id__gte=first, id__lt=beyond).select_related("delivery")
    return [attempt for attempt in near.order_by("id") if number_of(attempt.id) == number]

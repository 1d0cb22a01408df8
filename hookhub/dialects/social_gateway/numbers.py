"""The whole numbers by which GitHub's clients name a delivery: one for each attempt, made of its id and found by it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from deliveries.models import Attempt, Webhook

# JavaScript reads whole numbers exactly up to 53 bits, which is less than half of an id. So a number keeps of it what
# tells the attempts of one webhook apart: the millisecond, of a span far longer than any log is kept; the counter,
# as far as a worker's batches count; and some of the random rest, for workers that settle in the same millisecond.
MILLISECOND_BITS = 38
COUNTER_BITS = 8
RANDOM_BITS = 7
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_SINCE_1970 = (EPOCH - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
_SPAN = 1 << MILLISECOND_BITS
# Another machine's clock may be ahead of ours.
AHEAD_MOST = timedelta(minutes=10)


def number_of(attempt_id: UUID) -> int:
    """Give the number of an attempt; later ones have larger numbers until the span begins anew, after 8.7 years."""
    bits = attempt_id.int
    millisecond = ((bits >> 80) - _SINCE_1970) % _SPAN
    counter = bits >> 64 & (1 << COUNTER_BITS) - 1
    return millisecond << COUNTER_BITS + RANDOM_BITS | counter << RANDOM_BITS | bits & (1 << RANDOM_BITS) - 1


def bounds_of(number: int, *, now: datetime) -> tuple[UUID, UUID]:
    """Give the first id an attempt with this number can have, and the first that is too large for it."""
    latest = (now + AHEAD_MOST - EPOCH) // timedelta(milliseconds=1)
    millisecond = latest - (latest - (number >> COUNTER_BITS + RANDOM_BITS)) % _SPAN + _SINCE_1970
    return UUID(int=millisecond << 80), UUID(int=millisecond + 1 << 80)


def attempts_numbered(webhook: Webhook, number: int, *, now: datetime) -> list[Attempt]:
    """Give the attempts of a webhook that have this number, oldest first: one, or none.

    Two have the same only if two workers settled them in the same millisecond, at the same place in their batches, and
    the random bits are the same too, which is one such pair in 128.
    """
    if number >> MILLISECOND_BITS + COUNTER_BITS + RANDOM_BITS:
        return []
    first, beyond = bounds_of(number, now=now)
    near = Attempt.objects.filter(webhook=webhook, id__gte=first, id__lt=beyond).select_related("delivery")
    return [attempt for attempt in near.order_by("id") if number_of(attempt.id) == number]

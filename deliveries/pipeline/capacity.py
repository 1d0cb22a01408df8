"""Capacity: how many deliveries a worker can send, and to which webhooks it may send them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from deliveries.db import arrays
from deliveries.pipeline.request_rates import AHEAD, IS_WITHIN_RATE, TURNS
from deliveries.policy.retry import TIMEOUTS_BEFORE_BACKOFF

LAST_ID = 2**63 - 1

# Receivers whose recent latency reaches this are slow: all of them share a bounded fraction of the slots.
SLOW_FROM = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Capacity:
    """A worker's free slots, and how many of them may be used for slow receivers.

    ``stalled_webhooks`` are the ids of webhooks with requests that have been in flight for long; they count as slow
    whatever their average latency.
    """

    slots: int
    slow_slots: int = LAST_ID
    stalled_webhooks: Sequence[int] = ()


NO_CAPACITY = Capacity(0)


def capacity_params(capacity: Capacity, *, now: datetime) -> dict[str, object]:
    """Return the parameters of the SQL fragments below."""
    return {
        # Of a webhook without a limit of its own.
        "max_in_flight": settings.HOOKHUB_MAX_IN_FLIGHT,
        "timeouts": TIMEOUTS_BEFORE_BACKOFF,
        "slow_from": SLOW_FROM,
        "slow_slots": capacity.slow_slots,
        "stalled": arrays.bigints(capacity.stalled_webhooks),
        "now": now,
        "ahead": now + AHEAD,
    }


# How many requests a webhook may have in flight. After a backoff because of timeouts it is probed with a single
# request; the first response restores the full limit.
IN_FLIGHT_LIMIT = """
CASE WHEN w.timeouts_in_a_row >= %(timeouts)s THEN 1 ELSE coalesce(w.max_in_flight, %(max_in_flight)s) END
"""

IN_FLIGHT = """
(SELECT count(*) FROM hookhub_delivery s WHERE s.webhook_id = w.id AND s.state = 'sending')
"""

IS_SLOW = "(coalesce(w.latency_ewma >= %(slow_from)s, false) OR w.id = ANY(%(stalled)s::bigint[]))"

# The webhook neither backs off, nor is its next turn far away.
IS_NOT_WAITING = f"(w.backoff_until IS NULL OR w.backoff_until <= %(now)s) AND {IS_WITHIN_RATE}"

# Exact by the time at which a claim or a fan-out begins, whether or not the maintenance tasks have ended the webhook.
LEASE_LASTS = "(w.expires_at IS NULL OR w.expires_at > %(now)s)"

IS_UNVERIFIED = "(w.proof IS NOT NULL AND w.verified_at IS NULL)"

HAS_FREE_SLOT = f"{IN_FLIGHT} < {IN_FLIGHT_LIMIT} AND (%(slow_slots)s > 0 OR NOT {IS_SLOW})"

# Exact only for webhooks that this transaction has locked: within a single statement, two concurrent claims could each
# count the same free slot.
FREE_SLOTS = f"""
SELECT w.id, {IS_SLOW} AS is_slow, w.last_delivery_at, used.in_flight,
       greatest(least({IN_FLIGHT_LIMIT} - used.in_flight, {TURNS}), 0) AS free
FROM hookhub_webhook w CROSS JOIN LATERAL (SELECT {IN_FLIGHT} AS in_flight OFFSET 0) AS used
"""

# Keeps all ``candidates`` of fast webhooks, and as many of slow ones as there are slots for these. There can be more
# slow webhooks than slots: fewest in flight first, then least recently answered. By id, the others would starve.
WITHIN_SLOW_SLOTS = """
FROM (
    SELECT candidates.*, row_number() OVER (
        PARTITION BY is_slow ORDER BY in_flight + turn, last_delivery_at NULLS FIRST, webhook_id
    ) AS rank
    FROM candidates
) AS ranked
WHERE NOT is_slow OR rank <= %(slow_slots)s
"""

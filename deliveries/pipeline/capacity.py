"""Capacity: how much a worker can send, and which webhooks can be sent to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from deliveries.db import arrays
from deliveries.policy.retry import TIMEOUTS_BEFORE_BACKOFF

LAST_ID = 2**63 - 1

# Receivers whose recent latency reaches this are slow: all of them share a bounded fraction of the slots.
SLOW_FROM = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Capacity:
    """A worker's free capacity: ``limit`` slots in all, of which at most ``slow_slots`` for slow receivers.

    ``stalled_webhooks`` are the ids of webhooks with requests that have been in flight for long; they count as slow
    whatever their average latency.
    """

    limit: int
    slow_slots: int = LAST_ID
    stalled_webhooks: Sequence[int] = ()


NOTHING = Capacity(0)


def standing(wanted: Capacity, *, max_in_flight: int, now: datetime) -> dict[str, object]:
    """Return the SQL parameters that decide whether a webhook has capacity."""
    return {
        "max_in_flight": max_in_flight,
        "timeouts": TIMEOUTS_BEFORE_BACKOFF,
        "slow_from": SLOW_FROM,
        "slow_room": wanted.slow_slots,
        "lagging": arrays.bigints(wanted.stalled_webhooks),
        "now": now,
    }


# How many requests a webhook may have in flight. After a backoff because of timeouts it is probed with a single
# request; the first response restores the full limit.
SHARE = """
CASE WHEN w.timeouts_in_a_row >= %(timeouts)s THEN 1 ELSE coalesce(w.max_in_flight, %(max_in_flight)s) END
"""

IN_FLIGHT = """
(SELECT count(*) FROM deliveries_delivery s WHERE s.webhook_id = w.id AND s.state = 'sending')
"""

# There can be more slow webhooks than slots for them. Fewest in flight first, then least recently answered: ordering by
# id would starve the others.
SLOW_ORDER = "busy + turn, last_delivery_at NULLS FIRST, webhook_id"

IS_SLOW = "(coalesce(w.pace >= %(slow_from)s, false) OR w.id = ANY(%(lagging)s::bigint[]))"

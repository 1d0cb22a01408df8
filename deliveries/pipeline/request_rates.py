"""The rate of a webhook's requests: each claimed delivery gets its turn, one interval after the one before it.

The interval keeps to the limits of the webhook's owner and of its receiver (``policy.pace``). The state is one time per
webhook, ``next_request_at``: the next turn that no worker has taken. So it costs a webhook without a limit a comparison
with null. The claim and the fan-out lock the webhooks, read the time and move it in the same transaction: turns
of a worker that dies are lost, and never taken twice.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from deliveries.db import arrays, sql

# Turns are taken so long before they come: a claim that is late by less wastes none. A turn that is taken counts as a
# request in flight and, after a crash, as an attempt; and it keeps its time when the limit changes.
AHEAD = timedelta(milliseconds=250)

# The latest time at which a next turn can be: one interval after a turn that is taken now. After a change of the limits
# it is the longest of their windows after that turn, which is a minute for what a receiver allows. A later one is from
# before the clock was set back, and is ignored: until then, the webhook would get nothing.
LATEST_TURN = """
%(ahead)s + w.pace_interval + greatest(w.rate_per * interval '1 second', interval '1 minute')
"""
NEXT_TURN = f"CASE WHEN w.next_request_at <= {LATEST_TURN} THEN w.next_request_at END"

IS_WITHIN_RATE = f"""
(w.next_request_at IS NULL OR w.next_request_at <= %(ahead)s OR w.next_request_at > {LATEST_TURN})
"""

# How many turns of a webhook may be taken now; null without a limit. Zero or less if the next one is too far away.
TURNS = f"""
CASE WHEN w.pace_interval IS NOT NULL
     THEN 1 + floor(extract(epoch FROM %(ahead)s - greatest({NEXT_TURN}, %(now)s))
                    / extract(epoch FROM w.pace_interval))::bigint END
"""

# For webhooks that this transaction has locked.
TAKE_TURNS = f"""
UPDATE hookhub_webhook w
SET next_request_at = greatest({NEXT_TURN}, %(now)s) + claimed.requests * w.pace_interval
FROM unnest(%(webhooks)s::bigint[], %(requests)s::bigint[]) AS claimed (webhook_id, requests)
WHERE w.id = claimed.webhook_id AND w.pace_interval IS NOT NULL
RETURNING w.id, w.next_request_at - claimed.requests * w.pace_interval, w.pace_interval
"""


def take_turns(webhook_ids: Sequence[int], *, now: datetime, commits: bool) -> list[datetime | None]:
    """Take a turn for the webhook of each claimed delivery; return when each of them comes, None without a limit.

    Call it last in the transaction of the claim; it ``commits`` as ``sql.run`` does.
    """
    counts = Counter(webhook_ids)
    requests = {"webhooks": arrays.bigints(counts), "requests": arrays.bigints(counts.values())}
    rows = sql.run(TAKE_TURNS, {**requests, "now": now, "ahead": now + AHEAD}, commits=commits)
    upcoming: dict[int, datetime] = {webhook_id: first for webhook_id, first, _ in rows}
    intervals: dict[int, timedelta] = {webhook_id: interval for webhook_id, _, interval in rows}
    turns = []
    for webhook_id in webhook_ids:
        turn = upcoming.get(webhook_id)
        turns.append(turn)
        if turn is not None:
            upcoming[webhook_id] = turn + intervals[webhook_id]
    return turns

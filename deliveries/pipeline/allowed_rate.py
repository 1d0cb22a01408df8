"""The rate that a receiver allows: requests are claimed at an even pace, never more in a minute than it has granted.

The state is one time per webhook, ``next_request_at``, so it costs a webhook without a rate a comparison with null. The
claim and the fan-out both read it of webhooks that they have locked, and move it in the same transaction.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from deliveries.db import arrays, sql

IS_WITHIN_RATE = "(w.next_request_at IS NULL OR w.next_request_at <= %(now)s)"

# The requests of about two seconds may be sent at once, and at least two unless the rate is below ten: without other
# work a worker looks for it once a second, and must not lose what became allowed in between. With the interval below
# that makes at most ``allowed_rate`` requests in any 62 seconds: a minute, and two seconds for the way from the claim
# to the receiver, which the worker's dispatcher sees to.
_AT_ONCE = "(1 + (w.allowed_rate + 20) / 30)"
_INTERVAL = "(interval '62 s' / (w.allowed_rate - (w.allowed_rate + 20) / 30))"

# How many requests a webhook may be sent now; null if its receiver has set no limit.
REQUESTS_ALLOWED = f"""
CASE WHEN w.allowed_rate IS NULL THEN NULL
     WHEN w.next_request_at IS NULL THEN {_AT_ONCE}
     WHEN w.next_request_at > %(now)s THEN 0
     ELSE least({_AT_ONCE}, 1 + floor(extract(epoch FROM %(now)s - w.next_request_at)
                                      / extract(epoch FROM {_INTERVAL})))::bigint END
"""

# For webhooks that this transaction has locked.
COUNT_REQUESTS = f"""
UPDATE hookhub_webhook w
SET next_request_at = greatest(w.next_request_at, %(now)s - ({_AT_ONCE} - 1) * {_INTERVAL})
                      + claimed.requests * {_INTERVAL}
FROM unnest(%(webhooks)s::bigint[], %(requests)s::bigint[]) AS claimed (webhook_id, requests)
WHERE w.id = claimed.webhook_id AND w.allowed_rate IS NOT NULL
"""


def count_requests(webhook_ids: Iterable[int], *, now: datetime, commits: bool) -> None:
    """Count a request for the webhook of each claimed delivery; those without an allowed rate are left out.

    Call it last in the transaction of the claim; it ``commits`` as ``sql.run`` does.
    """
    counts = Counter(webhook_ids)
    requests = {"webhooks": arrays.bigints(counts), "requests": arrays.bigints(counts.values())}
    sql.run(COUNT_REQUESTS, {**requests, "now": now}, commits=commits)

"""Health of webhooks: count a batch of results for each, write the counts, and back off from those that time out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings

from deliveries.db import arrays, sql
from deliveries.pipeline.attempting import AttemptResult, schedule_of
from deliveries.pipeline.capacity import SLOW_FROM
from deliveries.policy.outcomes import Delivered, Failed, Gone, NoResponse
from deliveries.policy.retry import GiveUp, backoff_for

# The minimum interval between writes to the row of a healthy webhook.
WRITE_INTERVAL = timedelta(seconds=1)


@dataclass(slots=True)
class Health:
    """The results of one webhook in a batch.

    ``failures`` counts those since the last success, ``timeouts`` those since the last result that was no timeout.
    """

    webhook_id: int
    last_at: datetime
    last_status: str = ""
    succeeded: bool = False
    failures: int = 0
    timeouts: int = 0
    timed_out_only: bool = True
    success_at: datetime | None = None
    backoff_until: datetime | None = None
    review_since: datetime | None = None
    gone_at: datetime | None = None
    durations: list[timedelta] = field(default_factory=list)

    def add(self, result: AttemptResult) -> None:
        """Add a result; call it in the order in which the attempts ended."""
        self.last_at = max(self.last_at, result.ended_at)
        self.last_status = status_word(result)
        self.durations.append(result.exchange.duration)
        is_timeout = False
        match result.outcome:
            case Delivered():
                self.succeeded, self.failures, self.success_at = True, 0, result.ended_at
            case Gone():
                self.failures += 1
                self.gone_at = result.started_at
            case Failed(_, retry_after, _):
                self.failures += 1
                if retry_after is not None:
                    self.backoff_until = latest(self.backoff_until, result.ended_at + retry_after)
            case NoResponse(kind, _):
                self.failures += 1
                is_timeout = kind == "timeout"
        self.timeouts = self.timeouts + 1 if is_timeout else 0
        self.timed_out_only = self.timed_out_only and is_timeout
        # An empty schedule cannot be exhausted, and a rejected message was not retried. One bad minute or one bad
        # message must not disable a webhook.
        was_tried = not (isinstance(result.outcome, Failed) and result.outcome.is_final)
        if result.decision == GiveUp("exhausted") and was_tried and schedule_of(result.claim.destination):
            self.review_since = latest(self.review_since, result.claim.first_attempt_at)

    def mean_latency(self) -> timedelta:
        """Return the mean duration of its attempts."""
        return sum(self.durations, timedelta(0)) / len(self.durations)


def health_of(results: Sequence[AttemptResult]) -> list[Health]:
    """Return one Health per webhook of the batch."""
    found: dict[int, Health] = {}
    for result in sorted(results, key=lambda result: result.ended_at):
        webhook_id = result.claim.destination.webhook_id
        found.setdefault(webhook_id, Health(webhook_id, result.ended_at)).add(result)
    return list(found.values())


def status_word(result: AttemptResult) -> str:
    """Return an attempt's result as one word: the HTTP status, or the kind of failure if there was no response."""
    return result.outcome.kind if isinstance(result.outcome, NoResponse) else str(result.outcome.status)


def latest(one: datetime | None, other: datetime) -> datetime:
    """Return the later of two times; None counts as earlier."""
    return other if one is None else max(one, other)


def lock_webhooks(healths: Sequence[Health]) -> dict[int, bool]:
    """Lock the webhooks whose health must be written; return for each id whether this transaction got the lock."""
    return dict(sql.run(LOCK_FOR_HEALTH, to_columns(healths) | {"interval": WRITE_INTERVAL, "slow_from": SLOW_FROM}))


def update_webhooks(healths: Sequence[Health]) -> None:
    """Add a batch's results to its webhooks' health, and back off webhooks that keep timing out."""
    if not healths:
        return
    last_at = {each.webhook_id: each.last_at for each in healths}
    backoffs = {
        webhook_id: last_at[webhook_id] + backoff
        for webhook_id, timeouts, limit in sql.run(UPDATE_HEALTH, to_columns(healths))
        if (backoff := backoff_for(timeouts, in_flight_limit=limit or settings.HOOKHUB_MAX_IN_FLIGHT)) is not None
    }
    if backoffs:
        sql.run(BACK_OFF, {"webhooks": arrays.bigints(backoffs), "until": arrays.timestamps(backoffs.values())})


def to_columns(healths: Sequence[Health]) -> dict[str, object]:
    """Return the parameters of HEALTH: one array per column."""
    return {
        "webhooks": arrays.bigints(each.webhook_id for each in healths),
        "succeeded": arrays.booleans(each.succeeded for each in healths),
        "failures": arrays.bigints(each.failures for each in healths),
        "timeouts": arrays.bigints(each.timeouts for each in healths),
        "timed_out_only": arrays.booleans(each.timed_out_only for each in healths),
        "last_at": arrays.timestamps(each.last_at for each in healths),
        "last_status": arrays.texts(each.last_status for each in healths),
        "success_at": arrays.timestamps(each.success_at for each in healths),
        "backoff_until": arrays.timestamps(each.backoff_until for each in healths),
        "review_since": arrays.timestamps(each.review_since for each in healths),
        "gone_at": arrays.timestamps(each.gone_at for each in healths),
        "latency": arrays.intervals(each.mean_latency() for each in healths),
    }


# A batch's effect on each webhook's health. A count that restarted within the batch (failures after a success, timeouts
# after another outcome) replaces the stored count; any other is added to it.
HEALTH = """
unnest(
    %(webhooks)s::bigint[], %(succeeded)s::boolean[], %(failures)s::bigint[], %(timeouts)s::bigint[],
    %(timed_out_only)s::boolean[], %(last_at)s::timestamptz[], %(last_status)s::text[],
    %(success_at)s::timestamptz[], %(backoff_until)s::timestamptz[], %(review_since)s::timestamptz[],
    %(gone_at)s::timestamptz[], %(latency)s::interval[]
) AS h (webhook_id, succeeded, failures, timeouts, timed_out_only, last_at, last_status, success_at,
        backoff_until, review_since, gone_at, latency)
"""

# Returns the webhooks whose health must be written, and whether this transaction got the lock on each.
# A healthy webhook whose last success was written less than WRITE_INTERVAL ago is left out: otherwise its row would be
# written for every delivery.
LOCK_FOR_HEALTH = f"""
WITH worth_writing AS MATERIALIZED (
    SELECT h.webhook_id
    FROM {HEALTH} CROSS JOIN LATERAL (SELECT * FROM hookhub_webhook WHERE id = h.webhook_id OFFSET 0) AS w
    WHERE NOT (h.succeeded AND h.failures = 0 AND w.failure_count = 0 AND w.timeouts_in_a_row = 0
               AND num_nonnulls(h.backoff_until, h.review_since, h.gone_at) = 0
               AND w.last_delivery_status = h.last_status AND w.last_success_at > h.success_at - %(interval)s
               AND (w.latency_ewma >= %(slow_from)s) = (h.latency >= %(slow_from)s))
       OR w.last_success_at IS NULL OR w.latency_ewma IS NULL
), locked AS MATERIALIZED (
    SELECT id FROM hookhub_webhook
    WHERE id = ANY(ARRAY(SELECT webhook_id FROM worth_writing))
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT webhook_id, locked.id IS NOT NULL FROM worth_writing LEFT JOIN locked ON locked.id = webhook_id
"""

# For webhooks that LOCK_FOR_HEALTH has locked.
UPDATE_HEALTH = f"""
UPDATE hookhub_webhook w
SET failure_count = CASE WHEN h.succeeded THEN h.failures ELSE w.failure_count + h.failures END,
    timeouts_in_a_row = CASE WHEN h.timed_out_only THEN w.timeouts_in_a_row + h.timeouts ELSE h.timeouts END,
    last_delivery_at = greatest(w.last_delivery_at, h.last_at),
    last_delivery_status = CASE WHEN w.last_delivery_at > h.last_at THEN w.last_delivery_status ELSE h.last_status END,
    last_success_at = greatest(w.last_success_at, h.success_at),
    latency_ewma = coalesce((w.latency_ewma * 3 + h.latency) / 4, h.latency),
    backoff_until = greatest(w.backoff_until, h.backoff_until),
    -- Ignore attempts that began before the webhook was last enabled.
    review_since = greatest(w.review_since, CASE WHEN h.review_since >= coalesce(w.enabled_at, '-infinity')
                                                 THEN h.review_since END),
    gone_at = greatest(w.gone_at, CASE WHEN h.gone_at >= coalesce(w.enabled_at, '-infinity') THEN h.gone_at END),
    -- Only maintenance resets it, because it is in an index: each change of it costs an entry in every other index.
    failing_since = coalesce(w.failing_since, CASE WHEN h.failures > 0 THEN h.last_at END)
FROM {HEALTH}
WHERE w.id = ANY(%(webhooks)s::bigint[]) AND h.webhook_id = w.id
RETURNING w.id, w.timeouts_in_a_row, w.max_in_flight
"""

BACK_OFF = """
UPDATE hookhub_webhook w SET backoff_until = greatest(w.backoff_until, r.until)
FROM unnest(%(webhooks)s::bigint[], %(until)s::timestamptz[]) AS r (id, until)
WHERE w.id = r.id
"""

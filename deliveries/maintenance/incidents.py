"""Watch the failing webhooks: announce that one will be disabled unless it recovers, and that it has recovered."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction

from deliveries import pipeline, shutdown, system_events
from deliveries.db import arrays, sql
from deliveries.models import Webhook
from deliveries.pipeline import health
from deliveries.pipeline.attempting import schedule_of
from deliveries.policy import incidents
from deliveries.policy.incidents import Failing, Incident, Over, Progress, Retried, Step

# How many failing webhooks a tick reads. With more of them, each is looked at less often.
WEBHOOKS_PER_TICK = 500
# After this time no further webhook is announced: other maintenance tasks wait, such as for expired leases.
TICK_BUDGET = timedelta(seconds=1)
# How many deliveries of a webhook are read to find the one that has been retried for the longest time.
MAX_RETRIED = 100


class Watched(NamedTuple):
    """A failing webhook, with what decides how soon it is disabled."""

    id: int
    auto_disable: bool
    retry_schedule: list[timedelta] | None
    format: str
    incident: Incident


class Announcement(NamedTuple):
    """What is announced of a webhook: ``percent`` of what disables it is used up; None if it has recovered."""

    percent: int | None
    failing_since: datetime
    disables_at: datetime | None = None


# Called in the transaction that marks a webhook, with its locked row.
Announce = Callable[[Webhook, Announcement], None]


@dataclass
class Watch:
    """A sweep over the failing webhooks, some at each tick; its position is kept in memory only."""

    cursor: int = 0

    def tick(self, announce: Announce, *, now: datetime) -> int:
        """Look at the next failing webhooks; return how many announcements were made."""
        over_at = time.monotonic() + TICK_BUDGET.total_seconds()
        rows = sql.run(FIND_FAILING, {"after": self.cursor, "limit": WEBHOOKS_PER_TICK})
        found = [
            Watched(webhook_id, auto_disable, retry_schedule, wire_format, Incident(*incident))
            for webhook_id, auto_disable, retry_schedule, wire_format, *incident in rows
        ]
        self.cursor = found[-1].id if len(found) == WEBHOOKS_PER_TICK else 0
        progress = progress_of(found, now=now)
        over, announced = [], 0
        for webhook in found:
            match decide(webhook.incident, progress.get(webhook.id), now=now):
                case None:
                    continue
                case Over():
                    over.append(webhook.id)
                case step:
                    done = _announce(webhook.id, step, progress.get(webhook.id), announce=announce, now=now)
                    announced += done
                    if time.monotonic() >= over_at or shutdown.is_requested():
                        # The next tick goes on after this one.
                        self.cursor = webhook.id
                        break
        if over:
            sql.run(FORGET, {"webhooks": arrays.bigints(over)})
        return announced


_of_this_process = Watch()


def watch(announce: Announce, *, now: datetime) -> int:
    """Look at some of the failing webhooks, mark them and publish events; return how many announcements were made."""
    return _of_this_process.tick(announce, now=now)


def incident_of(webhook: Webhook) -> Incident | None:
    """Return the incident of a webhook, or None if it is not failing."""
    if webhook.failing_since is None:
        return None
    return Incident(
        failing_since=webhook.failing_since,
        failure_count=webhook.failure_count,
        last_success_at=webhook.last_success_at,
        announced=webhook.announced_percent,
        announced_at=webhook.announced_at,
    )


def decide(incident: Incident, progress: Progress | None, *, now: datetime) -> Step | None:
    """Return what to do about a failing webhook; ``progress`` is None if it cannot have reached a level."""
    return incidents.decide(incident, percent=0 if progress is None else progress.percent, now=now)


def progress_of(webhooks: Iterable[Watched], *, now: datetime) -> dict[int, Progress]:
    """Return how much of what disables each webhook has been used up, for those that may have reached a level."""
    allowed = settings.HOOKHUB_DISABLE_AFTER_FAILURES
    found: dict[int, Progress] = {}
    late: dict[int, Watched] = {}
    for webhook in webhooks:
        incident = webhook.incident
        level = incidents.level_after(incident.announced)
        if level is None or incident.failure_count == 0 or not webhook.auto_disable:
            continue
        if allowed:
            found[webhook.id] = incidents.progress_by_count(incident.failure_count, failures_allowed=allowed)
        if incidents.may_reach(level, incident, schedule=schedule_of(webhook), now=now):
            late[webhook.id] = webhook
    for webhook_id, retried in longest_retried(late.values()).items():
        by_time = incidents.progress_by_time(retried, schedule=schedule_of(late[webhook_id]), now=now)
        found[webhook_id] = max(found.get(webhook_id, by_time), by_time, key=lambda each: each.percent)
    return found


def longest_retried(webhooks: Iterable[Watched]) -> dict[int, Retried]:
    """Return for each webhook the delivery that has been retried for the longest time since its last success."""
    # Written at most once per ``health.WRITE_INTERVAL``, so the last success may be that much later.
    succeeded_at = {each.id: each.incident.last_success_at for each in webhooks}
    if not succeeded_at:
        return {}
    since = [at and at + health.WRITE_INTERVAL for at in succeeded_at.values()]
    rows = sql.run(
        FIND_LONGEST_RETRIED,
        {"webhooks": arrays.bigints(succeeded_at), "since": arrays.timestamps(since), "limit": MAX_RETRIED},
    )
    return {webhook_id: Retried(*facts) for webhook_id, *facts in rows}


def _announce(webhook_id: int, step: Step, progress: Progress | None, *, announce: Announce, now: datetime) -> bool:
    """Mark a webhook, publish the event and call ``announce`` in one transaction; return whether it was done.

    It is not if the webhook has changed meanwhile, or is locked: the next tick looks at it again.
    """
    with transaction.atomic():
        kept = Webhook.objects.kept().filter(pk=webhook_id, disabled_at=None).select_related("organization")
        webhook = kept.select_for_update(no_key=True, skip_locked=True, of=("self",)).first()
        incident = None if webhook is None else incident_of(webhook)
        if webhook is None or incident is None or decide(incident, progress, now=now) != step:
            return False
        if isinstance(step, Failing):
            disables_at = None if progress is None else progress.disables_at
            announcement = Announcement(step.percent, incident.streak_since, disables_at)
            webhook.announced_percent, webhook.announced_at = step.percent, now
        else:
            announcement = Announcement(None, incident.failing_since)
            webhook.announced_percent = webhook.announced_at = None
            # It may be failing again.
            webhook.failing_since = webhook.last_success_at if webhook.failure_count else None
        webhook.save(update_fields=["failing_since", "announced_percent", "announced_at"])
        facts = facts_of(webhook, announcement, now=now)
        event_type = "webhook.recovered" if announcement.percent is None else "webhook.failing"
        pipeline.accept([system_events.about_webhook(event_type, webhook, facts, now=now)], now=now)
        announce(webhook, announcement)
    return True


def facts_of(webhook: Webhook, announcement: Announcement, *, now: datetime) -> dict[str, object]:
    """Return what is told of a webhook, as in the system event."""
    since = announcement.failing_since.isoformat()
    if announcement.percent is None:
        return {"failing_since": since, "recovered_at": (webhook.last_success_at or now).isoformat()}
    at = announcement.disables_at
    return {
        "percent": announcement.percent,
        "failing_since": since,
        "failure_count": webhook.failure_count,
        "disables_at": None if at is None else at.isoformat(),
    }


# In the order and with the condition of the index webhook_failing.
FIND_FAILING = """
SELECT id, auto_disable, retry_schedule, format,
       failing_since, failure_count, last_success_at, announced_percent, announced_at
FROM hookhub_webhook
WHERE failing_since IS NOT NULL AND disabled_at IS NULL AND deleted_at IS NULL AND subscription IS NULL
  AND id > %(after)s
ORDER BY id LIMIT %(limit)s
"""

FORGET = """
WITH locked AS MATERIALIZED (
    SELECT id FROM hookhub_webhook
    WHERE id = ANY(%(webhooks)s::bigint[]) AND failure_count = 0 AND announced_percent IS NULL
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE hookhub_webhook w SET failing_since = NULL FROM locked WHERE w.id = locked.id
"""

# Each part is in the order of the index that serves it. Deliveries that were first attempted before the last success
# do not count, because exhausting their schedule does not disable the webhook.
FIND_LONGEST_RETRIED = """
SELECT w.id, d.first_attempt_at, d.due_at, d.failures
FROM unnest(%(webhooks)s::bigint[], %(since)s::timestamptz[]) AS w (id, since)
CROSS JOIN LATERAL (
    SELECT * FROM (
        (SELECT first_attempt_at, due_at, failures FROM hookhub_delivery
         WHERE webhook_id = w.id AND state = 'pending' AND readiness = 0
         ORDER BY id LIMIT %(limit)s)
        UNION ALL
        (SELECT first_attempt_at, due_at, failures FROM hookhub_delivery
         WHERE webhook_id = w.id AND state = 'pending' AND readiness = 2
         ORDER BY due_at, id LIMIT %(limit)s)
        UNION ALL
        (SELECT first_attempt_at, leased_at, failures FROM hookhub_delivery
         WHERE webhook_id = w.id AND state = 'sending' LIMIT %(limit)s)
    ) AS retried
    WHERE failures > 0 AND (w.since IS NULL OR first_attempt_at > w.since)
    ORDER BY first_attempt_at LIMIT 1
) AS d
"""

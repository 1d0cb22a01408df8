"""The invariants between events, deliveries, attempts and verifications, each with the query for its violations.

A query returns one line of text per row that violates its invariant. Its parameters are those of
``invariants.check_all``.
"""

from deliveries.maintenance.check import Check, orphans
from deliveries.pipeline.capacity import IS_UNVERIFIED, LEASE_LASTS
from deliveries.pipeline.fan_out_statements import IS_FANNED_OUT

# Restates the matching rule of the fan-out independently, and without its index, as a join of whole tables by scope and
# topic. (OFFSET keeps the planner from joining all events and webhooks of an organization first. The webhooks of a
# deleted repository are of none any more, and would match all events of the organization.) A webhook's
# subscription at the time of an event is only known if the webhook has not been changed since; updates of its health
# are not changes. Whether a lease ended before an event was fanned out is unknown, so ended webhooks are left out.
_MISSING_DELIVERIES = f"""
FROM (
    SELECT published.id, organization_id, published.repository_id, published.accepted_at, subscription.webhook_id,
           subscription.payload_filter
    FROM (SELECT e.id, e.organization_id, e.repository_id, e.accepted_at, topic, scope
          FROM hookhub_event e
          CROSS JOIN unnest(e.topics) AS topic CROSS JOIN unnest(ARRAY[0, e.repository_id]) AS scope
          WHERE e.webhook_id IS NULL AND e.accepted_at >= %(horizon)s
          OFFSET 0) AS published
    JOIN (SELECT id AS webhook_id, organization_id, coalesce(repository_id, 0) AS scope, unnest(events) AS topic,
                 payload_filter
          FROM hookhub_webhook WHERE disabled_at IS NULL AND deleted_at IS NULL
          OFFSET 0) AS subscription USING (organization_id, scope, topic)
    UNION ALL
    SELECT id, organization_id, repository_id, accepted_at, webhook_id, NULL
    FROM hookhub_event WHERE webhook_id IS NOT NULL
) AS e
JOIN hookhub_webhook w ON w.id = e.webhook_id AND w.organization_id = e.organization_id
    AND (w.repository_id IS NULL OR w.repository_id = e.repository_id)
WHERE e.accepted_at >= %(horizon)s AND w.disabled_at IS NULL AND w.deleted_at IS NULL
  AND {LEASE_LASTS} AND NOT {IS_UNVERIFIED}
  AND {IS_FANNED_OUT}
  AND NOT EXISTS (SELECT FROM hookhub_delivery d WHERE d.event_id = e.id AND d.webhook_id = w.id)
  AND NOT EXISTS (SELECT FROM hookhub_poll_entry p WHERE p.event_id = e.id AND p.webhook_id = w.id)
"""
_SETTLED = "greatest(w.created_at, w.changed_at) + %(settling)s::interval <= e.accepted_at"
_IN_DOUBT = f"greatest(w.created_at, w.changed_at) <= e.accepted_at AND NOT {_SETTLED}"


def _missing(changed: str) -> str:
    """Return the query for the missing deliveries of webhooks without a filter, by when these were changed."""
    return f"""
    SELECT DISTINCT e.id || ' to webhook ' || w.uid {_MISSING_DELIVERIES} AND e.payload_filter IS NULL AND {changed}
    """


def _missing_of_filtered(changed: str) -> str:
    """Return the query for those of webhooks with a filter, which PostgreSQL cannot apply to all data."""
    return f"""
    SELECT missing.event_id || ' to webhook ' || w.uid, w.payload_filter::text, e.payload
    FROM (
        SELECT DISTINCT e.id AS event_id, w.id AS webhook_id
        {_MISSING_DELIVERIES} AND e.payload_filter IS NOT NULL AND {changed}
    ) AS missing
    JOIN hookhub_event e ON e.id = missing.event_id
    JOIN hookhub_webhook w ON w.id = missing.webhook_id
    """


CHECKS: tuple[Check, ...] = (
    Check(
        "events-without-organization",
        "every event belongs to an organization",
        # A claim joins the event's organization, so the delivery of such an event would be claimed but never sent.
        orphans("hookhub_event", "organization_id", of="hookhub_organization"),
        "Their organization was deleted; they can no longer be delivered.",
    ),
    Check(
        "events-without-delivery",
        "every event has a delivery for each matching webhook, or an entry in its queue if it is polled",
        _missing(_SETTLED),
        "These events were never delivered to these webhooks. If `prune --older-than` deleted the deliveries, "
        "pass the same number of days as --within.",
        of_filtered=_missing_of_filtered(_SETTLED),
    ),
    Check(
        "events-in-doubt",
        "no webhook was changed just before an event that it did not receive",
        # Whether the event was fanned out before or after the change is unknown.
        _missing(_IN_DOUBT),
        "Each event came so soon after a change of the webhook that it may have been matched against the old "
        "subscription: probably no loss.",
        broken="waiting",
        of_filtered=_missing_of_filtered(_IN_DOUBT),
    ),
    Check(
        "events-not-fanned-out",
        "every event is fanned out in time",
        """
        SELECT e.id::text FROM hookhub_outbox a JOIN hookhub_event e ON e.id = a.event_id
        WHERE e.accepted_at < %(overdue)s
        """,
        "No worker is running, or the workers cannot keep up.",
        broken="waiting",
    ),
    Check(
        "outbox-without-event",
        "every outbox entry has its event",
        orphans("hookhub_outbox", "event_id", of="hookhub_event", key="event_id"),
        "Their events were deleted; they cannot be delivered.",
    ),
    Check(
        "deliveries-without-event",
        "every delivery has its event",
        orphans("hookhub_delivery", "event_id", of="hookhub_event"),
        "Their payloads were deleted; they cannot be sent.",
    ),
    Check(
        "deliveries-without-webhook",
        "every delivery has its webhook",
        orphans("hookhub_delivery", "webhook_id", of="hookhub_webhook"),
        "The rows of their webhooks were deleted by hand; the API keeps the row of a deleted webhook until all its "
        "deliveries are pruned.",
    ),
    Check(
        "deliveries-without-organization",
        "every delivery belongs to an organization",
        orphans("hookhub_delivery", "organization_id", of="hookhub_organization"),
        "They do not appear in any delivery log.",
    ),
    Check(
        "deliveries-across-organizations",
        "every delivery belongs to the same organization as its event and its webhook",
        # Missing organizations are found by other checks.
        """
        SELECT d.id::text
        FROM hookhub_delivery d
        JOIN hookhub_organization o ON o.id = d.organization_id
        JOIN hookhub_event e ON e.id = d.event_id
        JOIN hookhub_webhook w ON w.id = d.webhook_id
        WHERE e.organization_id <> d.organization_id OR w.organization_id <> d.organization_id
        """,
        "Stop the workers and investigate these first: one tenant may be receiving another's events.",
    ),
    Check(
        "deliveries-in-no-state",
        "every delivery is in a known state",
        # Table constraints forbid most violations of this and the next checks, but a restore or a manual change may
        # bypass them.
        """
        SELECT d.id::text FROM hookhub_delivery d
        WHERE d.state NOT IN ('pending', 'sending', 'delivered', 'failed', 'held', 'cancelled')
        """,
        "No worker will ever process them.",
    ),
    Check(
        "deliveries-leased-wrongly",
        "a delivery has a lease if and only if it is being sent",
        """
        SELECT d.id::text FROM hookhub_delivery d
        WHERE num_nonnulls(d.lease, d.leased_at, d.leased_until) <> CASE WHEN d.state = 'sending' THEN 3 ELSE 0 END
        """,
        "Without a lease they are never rescued; a stray lease has no effect.",
    ),
    Check(
        "deliveries-never-due",
        "every pending delivery has a due time",
        "SELECT d.id::text FROM hookhub_delivery d WHERE d.state = 'pending' AND d.due_at IS NULL",
        "They wait forever; `manage.py redeliver` makes them due.",
    ),
    Check(
        "deliveries-finished-wrongly",
        "a delivery has a finish time and a finish reason if and only if it is finished",
        """
        SELECT d.id::text FROM hookhub_delivery d
        WHERE CASE d.state
            WHEN 'delivered' THEN d.finished_at IS NULL OR d.finish_reason IS DISTINCT FROM 'delivered'
            WHEN 'cancelled' THEN d.finished_at IS NULL
                OR coalesce(d.finish_reason, '') NOT IN ('cancelled', 'lease_expired')
            WHEN 'failed' THEN d.finished_at IS NULL
                OR coalesce(d.finish_reason, '') NOT IN ('exhausted', 'gone', 'poison')
            ELSE num_nonnulls(d.finished_at, d.finish_reason) > 0
        END
        """,
        "Retention and the delivery log rely on these columns.",
    ),
    Check(
        "deliveries-leased-too-long",
        "no lease expired long ago",
        """
        SELECT d.id::text FROM hookhub_delivery d WHERE d.state = 'sending' AND d.leased_until < %(overdue)s
        """,
        "Their workers died and they were not rescued: no worker is running, or the workers' schedulers have stopped.",
    ),
    Check(
        "deliveries-to-be-held",
        "no delivery is pending for a disabled webhook",
        """
        SELECT d.id::text
        FROM hookhub_delivery d JOIN hookhub_webhook w ON w.id = d.webhook_id
        WHERE d.state = 'pending' AND (w.disabled_at IS NOT NULL OR w.deleted_at IS NOT NULL)
        """,
        "They were fanned out while the webhook was being disabled; the next claim holds them.",
        broken="waiting",
    ),
    Check(
        "deliveries-sent-to-unverified",
        "nothing was ever sent to a webhook whose URL has not been verified",
        f"""
        SELECT a.delivery_id::text FROM hookhub_webhook w JOIN hookhub_attempt a ON a.webhook_id = w.id
        WHERE {IS_UNVERIFIED}
        UNION ALL
        SELECT d.id::text FROM hookhub_webhook w JOIN hookhub_delivery d ON d.webhook_id = w.id
        WHERE {IS_UNVERIFIED} AND d.state = 'sending'
        """,
        "A receiver that has not asked for them may have got these events.",
    ),
    Check(
        "deliveries-sent-after-lease",
        "nothing was sent to a webhook after the end of its lease",
        # A claim compares the end by the time at which it begins; its request starts a moment later, on a busy machine
        # up to a second.
        """
        SELECT d.id::text FROM hookhub_webhook w JOIN hookhub_delivery d ON d.webhook_id = w.id
        WHERE d.state = 'sending' AND d.leased_at >= w.expires_at
        UNION ALL
        SELECT a.delivery_id::text FROM hookhub_webhook w JOIN hookhub_attempt a ON a.webhook_id = w.id
        WHERE a.started_at >= w.expires_at + greatest(%(settling)s::interval, interval '1 s')
        """,
        "A receiver may have got these events although its subscription had ended.",
    ),
    Check(
        "attempts-beyond-the-rate",
        "no webhook got more requests in a window than its owner's limit, or its receiver, allows",
        # A request that was claimed before a change counted against the limits before. Of one that was lost with its
        # worker it is only known that it was claimed.
        """
        SELECT DISTINCT counted.delivery_id::text
        FROM (
            SELECT a.delivery_id, a.started_at, allowed.span,
                   lag(a.started_at, allowed.requests)
                       OVER (PARTITION BY a.webhook_id, allowed.span ORDER BY a.started_at) AS earlier
            FROM hookhub_webhook w
            CROSS JOIN LATERAL (VALUES
                (w.allowed_rate, interval '1 minute'),
                (w.rate_requests + w.rate_requests / 10, w.rate_per * interval '1 second')
            ) AS allowed (requests, span)
            JOIN hookhub_attempt a ON a.webhook_id = w.id
            WHERE w.pace_interval IS NOT NULL AND allowed.requests IS NOT NULL AND a.outcome <> 'unknown'
              AND a.started_at >= greatest(w.changed_at, w.verified_at) + %(settling)s::interval
        ) AS counted
        WHERE counted.started_at < counted.earlier + counted.span
        """,
        "The receiver may answer these with 429, or count them as abuse.",
    ),
    Check(
        "webhooks-paced-wrongly",
        "the pace of every webhook with a limit keeps to it",
        """
        SELECT w.uid::text FROM hookhub_webhook w
        WHERE w.pace_interval * w.allowed_rate < interval '1 minute'
           OR w.pace_interval * w.rate_requests < w.rate_per * interval '1 second'
        """,
        "Their rows were changed by hand; set their limits again.",
    ),
    Check(
        "deliveries-to-be-cancelled",
        "no delivery is pending or held for a webhook whose lease has ended",
        """
        SELECT d.id::text FROM hookhub_webhook w JOIN hookhub_delivery d ON d.webhook_id = w.id
        WHERE d.state IN ('pending', 'held') AND w.expires_at <= %(now)s
        """,
        "A maintenance task cancels them within seconds; the claim sends none of them.",
        broken="waiting",
    ),
    Check(
        "verifications-leased-too-long",
        "no lease of a verification expired long ago",
        "SELECT v.id::text FROM hookhub_verification v WHERE v.leased_until < %(overdue)s",
        "Their workers died and no other has repeated them: no worker is running.",
        broken="waiting",
    ),
    Check(
        "verifications-without-webhook",
        "every verification has its webhook",
        orphans("hookhub_verification", "webhook_id", of="hookhub_webhook") + " AND t.webhook_id IS NOT NULL",
        "The rows of their webhooks were deleted by hand.",
    ),
    Check(
        "deliveries-failed-too-often",
        "no delivery has more failures than attempts",
        "SELECT d.id::text FROM hookhub_delivery d WHERE d.failures > d.attempts_made",
        "They have skipped steps of their retry schedules.",
    ),
    Check(
        "deliveries-without-proof",
        "every delivered delivery has a successful attempt",
        """
        SELECT d.id::text FROM hookhub_delivery d
        WHERE d.state = 'delivered'
          AND NOT EXISTS (SELECT FROM hookhub_attempt a WHERE a.delivery_id = d.id AND a.outcome = 'delivered')
        """,
        "They may not have been delivered; `manage.py redeliver` sends them again.",
    ),
    Check(
        "deliveries-with-other-attempts",
        "every delivery has as many attempts as it counts, numbered without gaps",
        # Attempt numbers are unique and begin at 1, so there is no gap if there are as many rows as the highest number.
        # An attempt gets its number with the claim, but its row only when it has ended.
        """
        SELECT d.id::text
        FROM hookhub_delivery d
        LEFT JOIN (
            SELECT delivery_id, count(*) AS recorded, max(number) AS highest
            FROM hookhub_attempt GROUP BY delivery_id
        ) AS a ON a.delivery_id = d.id
        WHERE coalesce(a.recorded, 0) <> coalesce(a.highest, 0)
           OR coalesce(a.highest, 0) NOT BETWEEN d.attempts_made - (d.state = 'sending')::int AND d.attempts_made
        """,
        "The attempt log of these deliveries is incomplete.",
    ),
    Check(
        "attempts-without-delivery",
        "every attempt belongs to a delivery",
        orphans("hookhub_attempt", "delivery_id", of="hookhub_delivery"),
        "Deliveries were deleted without their attempts.",
    ),
    Check(
        "poll-entries-without-event",
        "every entry in the queue of a polling webhook has its event",
        orphans("hookhub_poll_entry", "event_id", of="hookhub_event"),
        "Their payloads were deleted; consumers do not get them.",
    ),
    Check(
        "poll-entries-without-queue",
        "every entry is in the queue of a polling webhook, with a position that the queue has given",
        """
        SELECT p.id::text FROM hookhub_poll_entry p
        WHERE NOT EXISTS (SELECT FROM hookhub_poll_queue q
                          WHERE q.webhook_id = p.webhook_id AND coalesce(p.position, 0) <= q.last_position)
        """,
        "Consumers do not get them, or would miss those that come next.",
    ),
)

"""The rule that no accepted event is lost."""

from collections.abc import Iterator, Sequence

from chaos.checkers.metrics import by_delivery
from chaos.checkers.tolerances import DELAYING_ENTRIES, SLACK, interrupted_seconds, is_overlapped
from chaos.history import Arrival, Attempt, Delivery, History, Published, Webhook, matches

# A delivery may be failed as a poison message only after this many of its leases were lost.
POISON_AFTER = 5
# Seconds within which a stream entry is stored when nothing is disturbed.
STORED_WITHIN = 2.5


def losses(history: History) -> Iterator[str]:
    """Yield each accepted event that is lost: neither received by a matching webhook, nor failed or held on record.

    Also yields each webhook that is disabled or active against the rules.
    """
    taken = {(arrival.key, arrival.path) for arrival in history.arrivals if arrival.is_taken}
    by_event = {(one.key, one.path): one for one in history.deliveries}
    attempts, arrivals = by_delivery(history.attempts), by_delivery(history.arrivals)
    for event in accepted(history):
        for webhook in history.webhooks:
            if not _is_expected(event, webhook, history) or (event.key, webhook.path) in taken:
                continue
            one = by_event.get((event.key, webhook.path))
            if one is None:
                yield f"{event.key} to {webhook.path}: {event.outcome}, but it has no delivery"
            elif error := _state_error(one, webhook, attempts.get(one.id, []), arrivals.get(one.id, [])):
                yield f"{event.key} to {webhook.path}: {error}"
    for webhook in history.webhooks:
        if error := _disabling_error(webhook, history):
            yield f"{webhook.path}: {error}"


def accepted(history: History) -> Iterator[Published]:
    """Yield the events that must be delivered: those acknowledged, and those stored, whatever the publisher heard.

    Until a worker has stored a stream entry, only Redis holds it. HookHub is not blamed for entries that Redis lost
    before that.
    """
    for event in history.published:
        if event.key in history.stored or (event.outcome == "acknowledged" and not _is_forgotten(event, history)):
            yield event


def _is_forgotten(event: Published, history: History) -> bool:
    """Return whether Redis may have lost a stream entry before a worker stored it."""
    return event.route == "stream" and any(
        event.at - SLACK <= at <= event.answered_at + _stored_within(event, at, history) for at in history.forgotten_at
    )


def _stored_within(event: Published, forgotten_at: float, history: History) -> float:
    """Return for how many seconds an entry may have waited in Redis.

    An entry pending at a dead worker waits until another worker claims it.
    """
    span = (event.at - SLACK, forgotten_at)
    if is_overlapped(*span, history.interruptions, kinds={"process"}):
        return history.stored_within
    return STORED_WITHIN + interrupted_seconds(*span, history.interruptions, kinds=DELAYING_ENTRIES)


def _is_expected(event: Published, webhook: Webhook, history: History) -> bool:
    """Return whether a webhook must get an event: it matches, and was accepted before the webhook was disabled."""
    if not matches(webhook.topics, event.type):
        return False
    return webhook.disabled_at is None or history.stored.get(event.key, event.at) < webhook.disabled_at - SLACK


def _state_error(
    one: Delivery, webhook: Webhook, attempts: Sequence[Attempt], requests: Sequence[Arrival]
) -> str | None:
    """Return why a delivery that never arrived must not be in its final state, or None when it may be."""
    if one.state == "held":
        return None if webhook.disabled_at is not None else "held, but the webhook is active"
    if one.state != "failed":
        return f"{one.state}, but never received"
    if len(attempts) != one.attempts_made:
        return f"failed, with {len(attempts)} attempts on record instead of {one.attempts_made}"
    return _failure_error(one.finish_reason, webhook, attempts, requests)


def _failure_error(
    finish_reason: str | None, webhook: Webhook, attempts: Sequence[Attempt], requests: Sequence[Arrival]
) -> str | None:
    """Return why a delivery must not have failed, or not with this finish reason; None when both are right."""
    failures = sum(attempt.is_failure for attempt in attempts)
    unknown = len(attempts) - failures
    earned = {
        "exhausted": failures > len(webhook.schedule),
        "poison": unknown >= POISON_AFTER,
        "gone": any(request.answer == "410" for request in requests),
    }
    if not earned.get(finish_reason or "", False):
        allowed = len(webhook.schedule) + 1
        return f"failed as {finish_reason} after {failures} of {allowed} failures and {unknown} lost leases"
    return f"failed as {finish_reason}, but the receiver accepts everything" if webhook.is_healthy else None


def _disabling_error(webhook: Webhook, history: History) -> str | None:
    """Return why a webhook must not be disabled, or must not be active; None when its status is right."""
    if webhook.disabled_at is None:
        is_exhausted = any(one.path == webhook.path and one.finish_reason == "exhausted" for one in history.deliveries)
        return (
            "a delivery was exhausted, but the webhook is still active"
            if webhook.auto_disable and is_exhausted
            else None
        )
    if not webhook.auto_disable:
        return "disabled, but auto-disable is off"
    asked_at = min(
        (request.at for request in history.arrivals if request.path == webhook.path), default=webhook.disabled_at
    )
    lasted = webhook.disabled_at - asked_at
    return f"disabled after only {lasted:.1f} s of failures" if lasted < sum(webhook.schedule) - SLACK else None

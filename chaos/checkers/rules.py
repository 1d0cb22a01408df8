"""The checker: seven rules, each a pure function from the history to its violations."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from chaos.checkers.matching import match_pairs
from chaos.checkers.metrics import by_delivery, delays, taken_by_delivery
from chaos.checkers.schedule import off_schedule
from chaos.checkers.tolerances import (
    DELAYING,
    DELAYING_ENTRIES,
    SLACK,
    interrupted_seconds,
    is_overlapped,
    may_have_been_repeated,
    may_have_hit,
)
from chaos.history import Arrival, Attempt, Breach, Delivery, History, Published, Webhook, matches
from testbed.sampling import percentile

# A delivery may be failed as a poison message only after this many of its leases were lost.
POISON_AFTER = 5
# Seconds within which a stream entry is stored when nothing is disturbed.
STORED_WITHIN = 2.5
# Seconds after the end of an attempt within which its request may still reach the receiver when nothing is disturbed.
SEEN_LATE = 1.0
# Seconds. A webhook whose receiver keeps timing out backs off, and is then probed with a single request.
REST = 15.0


def check(history: History) -> list[Breach]:
    """Return every violation, ordered by rule."""
    return [Breach(number, what) for number, rule in RULES.items() for what in rule(history)]


# 1: lost ------------------------------------------------------------------------------------------------------------


def losses(history: History) -> Iterator[str]:
    """Yield each accepted event that is lost: neither received by a matching webhook, nor failed or held on record.

    Also yields each webhook that is disabled or active against the rules.
    """
    taken = {(arrival.key, arrival.path) for arrival in history.arrivals if arrival.is_taken}
    by_event = {(one.key, one.path): one for one in history.deliveries}
    attempts, arrivals = by_delivery(history.attempts), by_delivery(history.arrivals)
    for event in accepted(history):
        for webhook in history.webhooks:
            if not is_expected(event, webhook, history) or (event.key, webhook.path) in taken:
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


def is_expected(event: Published, webhook: Webhook, history: History) -> bool:
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


# 2: unexpected ------------------------------------------------------------------------------------------------------


def unexpected(history: History) -> Iterator[str]:
    """Yield each request that is unexpected.

    Such a request carries an event that was not published or whose publishing was rejected, the id of another delivery,
    different bytes, an invalid signature, or a type outside the subscription.
    """
    published = {event.key: event for event in history.published}
    topics = {webhook.path: webhook.topics for webhook in history.webhooks}
    deliveries = {one.id: (one.key, one.path) for one in history.deliveries}
    for arrival in history.arrivals:
        event = published.get(arrival.key)
        if event is None:
            yield f"{arrival.path} received {arrival.key or 'an unknown event'}, which was not published"
        elif event.outcome == "rejected":
            yield f"{arrival.path} received {arrival.key}, whose publishing was rejected"
        elif arrival.sha != event.sha:
            yield f"{arrival.path} received {arrival.key} with different bytes"
        elif arrival.signature != "valid":
            yield f"{arrival.path} received {arrival.key} with a bad signature: {arrival.signature}"
        elif not matches(topics.get(arrival.path, ()), event.type):
            yield f"{arrival.path} received {arrival.key}, to which it is not subscribed"
        elif deliveries.get(arrival.delivery) != (arrival.key, arrival.path):
            yield f"{arrival.path} received {arrival.key} under the id of another delivery, {arrival.delivery}"
    for one in history.deliveries:
        if one.key not in published:
            yield f"delivery {one.id} ({one.path}) is of {one.key or 'an unknown event'}, which was not published"


# 3: unrecorded ------------------------------------------------------------------------------------------------------


def unrecorded(history: History) -> Iterator[str]:
    """Yield each request without an attempt, and each attempt answered or lost on the way without a request."""
    arrivals, attempts = by_delivery(history.arrivals), by_delivery(history.attempts)
    for delivery in arrivals.keys() | attempts.keys():
        requests, recorded = arrivals.get(delivery, []), attempts.get(delivery, [])
        fits = [[_covers(one, request.at, history) for request in requests] for one in recorded]
        needed = [place for place, one in enumerate(recorded) if _needs_a_request(one, history)]
        taken = match_pairs(fits, first=needed)
        for place in needed:
            if place not in taken.values():
                one = recorded[place]
                yield f"{delivery}: attempt {one.number} is {one.outcome}, but no request of it arrived"
        left = [request for place, request in enumerate(requests) if place not in taken]
        for request in left[may_have_been_repeated(requests, history) :]:
            yield f"{delivery}: the request to {request.path} at {request.at:.3f} has no attempt"


def _needs_a_request(one: Attempt, history: History) -> bool:
    """Return whether an attempt's request must have arrived; an interrupted attempt may not have sent one."""
    if one.outcome == "delivered" or one.status is not None:
        return True
    is_told_of = one.outcome == "no_response" and one.ended_at is not None
    return is_told_of and not is_overlapped(one.started_at, one.ended_at or 0, history.interruptions)


def _covers(one: Attempt, at: float, history: History) -> bool:
    """Return whether a request may belong to an attempt.

    A worker that was paused sends only after it is resumed.
    """
    if at < one.started_at - SLACK:
        return False
    if one.outcome == "unknown" or one.ended_at is None or at <= one.ended_at + SEEN_LATE:
        return True
    longest = max([history.lease, *(webhook.timeout for webhook in history.webhooks)]) + SLACK
    return at <= one.ended_at + longest and is_overlapped(one.started_at, at, history.interruptions)


# 4: duplicated ------------------------------------------------------------------------------------------------------


def duplicates(history: History) -> Iterator[str]:
    """Yield each event that a webhook took again without a kill or cut in flight; each kill or cut explains one."""
    attempts = by_delivery(history.attempts)
    for (key, path), taken in taken_twice(history).items():
        met = sum(may_have_hit(one, taken, attempts, history.interruptions) for one in history.interruptions)
        if len(taken) - 1 > met:
            yield f"{key} was accepted {len(taken)} times by {path}, but interrupted only {met} times"


def taken_twice(history: History) -> dict[tuple[str, str], list[Arrival]]:
    """Return, by key and path, the requests of each event that a webhook took more than once, under whatever ids."""
    found: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
    for arrival in history.arrivals:
        if arrival.is_taken:
            found[arrival.key, arrival.path].append(arrival)
    return {which: taken for which, taken in found.items() if len(taken) > 1}


def allowed_duplicates(history: History) -> int:
    """Return the most duplicates that the faults explain: the number of requests in flight at kills and cuts."""
    attempts = by_delivery(history.attempts)
    return sum(
        may_have_hit(one, taken, attempts, history.interruptions)
        for taken in taken_by_delivery(history).values()
        for one in history.interruptions
    )


# 6: not quiescent ---------------------------------------------------------------------------------------------------


def not_quiescent(history: History) -> Iterator[str]:
    """Yield whatever is not quiescent at the end.

    At the end, no delivery is pending or in flight, no lease is left, the attempt counts match, and ``check_ledger`` is
    clean.
    """
    recorded = by_delivery(history.attempts)
    seen: set[tuple[str, str]] = set()
    for one in history.deliveries:
        if one.state not in {"delivered", "failed", "held"}:
            yield f"delivery {one.id} ({one.path}) is still {one.state}"
        if one.has_lease:
            yield f"delivery {one.id} ({one.path}) still has a lease"
        numbers = sorted(attempt.number for attempt in recorded.get(one.id, ()))
        if numbers != list(range(1, one.attempts_made + 1)):
            yield f"delivery {one.id} ({one.path}) counts {one.attempts_made} attempts, but the log has {numbers}"
        if (one.key, one.path) in seen:
            yield f"{one.key} has two deliveries to {one.path}"
        seen.add((one.key, one.path))
    yield from (f"check_ledger: {line}" for line in history.ledger)


# 7: late ------------------------------------------------------------------------------------------------------------


def late(history: History) -> Iterator[str]:
    """Yield each event that came late to a healthy webhook, beyond what the faults explain.

    Where the scenario demands promptness, also checks the median delay.
    """
    yield from _late_events(history)
    if history.prompt_within is None:
        return
    seconds = delays(history)
    median = percentile(seconds, 50)
    if not seconds:
        yield "nothing arrived at a healthy webhook"
    elif median > history.prompt_within:
        yield f"the median latency is {median:.3f} s; the limit is {history.prompt_within:g} s"


def _late_events(history: History) -> Iterator[str]:
    """Yield the events that reached a healthy webhook later than the faults explain."""
    healthy = {webhook.path: webhook for webhook in history.webhooks if webhook.is_healthy}
    first: dict[tuple[str, str], float] = {}
    for arrival in history.arrivals:
        if arrival.path in healthy and arrival.is_taken:
            first.setdefault((arrival.key, arrival.path), arrival.at)
    for event in accepted(history):
        since = _known_since(event, history)
        for path in healthy:
            at = first.get((event.key, path), since)
            # Tolerances are slow to compute, so only for the few events that are late.
            if at - since > history.late_allowed:
                latest = history.late_allowed + _tolerance(event, since, at, history)
                if at - since > latest:
                    yield f"{event.key} reached {path} after {at - since:.1f} s; the limit is {latest:.1f} s"


def _known_since(event: Published, history: History) -> float:
    """Return when HookHub became responsible for an event, by the publisher's clock where it got an answer.

    The time that a worker stores for a stream entry comes from the worker's clock, which may be wrong.
    """
    if event.outcome == "acknowledged" or event.route == "stream":
        return event.answered_at
    return max(event.answered_at, history.stored.get(event.key, event.answered_at))


def _tolerance(event: Published, since: float, at: float, history: History) -> float:
    """Return how many seconds later an event may reach a healthy webhook because of the faults in between."""
    kinds = DELAYING_ENTRIES if event.route == "stream" else DELAYING
    tolerance = interrupted_seconds(since, at, history.interruptions, kinds=kinds)
    if is_overlapped(since, at, history.interruptions, kinds=kinds):
        tolerance += history.stored_within if event.route == "stream" else history.lease
    if is_overlapped(since, at, history.interruptions, kinds={"receiver"}):
        tolerance += REST
    return tolerance


RULES: Mapping[int, Callable[[History], Iterator[str]]] = {
    1: losses,
    2: unexpected,
    3: unrecorded,
    4: duplicates,
    5: off_schedule,
    6: not_quiescent,
    7: late,
}
# Rule 0 is what the harness itself noticed.
RULE_NAMES: Mapping[int, str] = {
    0: "harness",
    1: "lost",
    2: "unexpected",
    3: "unrecorded",
    4: "duplicated",
    5: "off schedule",
    6: "not quiescent",
    7: "late",
}

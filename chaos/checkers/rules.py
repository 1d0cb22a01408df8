"""The checker: eight rules, each a pure function from the history to its violations."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from chaos.checkers.lateness import late
from chaos.checkers.losses import losses
from chaos.checkers.matching import match_pairs
from chaos.checkers.metrics import by_delivery, taken_by_delivery
from chaos.checkers.schedule import off_schedule
from chaos.checkers.subscriptions import wrong_subscriptions
from chaos.checkers.tolerances import SLACK, is_overlapped, may_have_been_repeated, may_have_hit
from chaos.history import Arrival, Attempt, Breach, History, matches

# Seconds after the end of an attempt within which its request may still reach the receiver when nothing is disturbed.
SEEN_LATE = 1.0


def check(history: History) -> list[Breach]:
    """Return every violation, ordered by rule."""
    return [Breach(number, what) for number, rule in RULES.items() for what in rule(history)]


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


RULES: Mapping[int, Callable[[History], Iterator[str]]] = {
    1: losses,
    2: unexpected,
    3: unrecorded,
    4: duplicates,
    5: off_schedule,
    6: not_quiescent,
    7: late,
    8: wrong_subscriptions,
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
    8: "wrong subscription",
}

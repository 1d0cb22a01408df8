"""The checker: seven rules, each a pure function from the history to its violations."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from chaos.checkers.matching import pair_off
from chaos.checkers.metrics import by_delivery, delays, percentile, taken_by_delivery
from chaos.checkers.tolerances import (
    DELAYING,
    DELAYING_ENTRIES,
    SLACK,
    held_up,
    is_overlapped,
    may_have_been_repeated,
    may_have_met,
)
from chaos.history import Arrival, Attempted, Breach, Hook, Owed, Published, Records, matches

FAILED = frozenset({"refused", "lost"})
# A delivery may be failed as a poison message only after this many of its leases were lost.
POISONOUS_AFTER = 5
# Seconds within which a stream entry is stored when nothing is disturbed.
STORED_WITHIN = 2.5
# Seconds after the end of an attempt within which its request may still reach the receiver when nothing is disturbed.
SEEN_LATE = 1.0
# Seconds. A webhook whose receiver keeps timing out backs off, and is then probed with a single request.
REST = 15.0


def check(records: Records) -> list[Breach]:
    """Return every violation, ordered by rule."""
    return [Breach(number, what) for number, rule in RULES.items() for what in rule(records)]


# 1: lost ------------------------------------------------------------------------------------------------------------


def losses(records: Records) -> Iterator[str]:
    """Yield each accepted event that is lost: neither received by a matching webhook, nor failed or held on record.

    Also yields each webhook that is disabled or active against the rules.
    """
    taken = {(arrival.key, arrival.path) for arrival in records.arrivals if arrival.is_taken}
    owed = {(one.key, one.path): one for one in records.owed}
    attempts, arrivals = by_delivery(records.attempts), by_delivery(records.arrivals)
    for event in accepted(records):
        for hook in records.hooks:
            if not is_owed(event, hook, records) or (event.key, hook.path) in taken:
                continue
            one = owed.get((event.key, hook.path))
            if one is None:
                yield f"{event.key} to {hook.path}: {event.said}, but it has no delivery"
            elif fault := _fault_in_ending(one, hook, attempts.get(one.id, []), arrivals.get(one.id, [])):
                yield f"{event.key} to {hook.path}: {fault}"
    for hook in records.hooks:
        if fault := _fault_in_disabling(hook, records):
            yield f"{hook.path}: {fault}"


def accepted(records: Records) -> Iterator[Published]:
    """Yield the events that must be delivered: those acknowledged, and those stored, whatever the publisher heard.

    Until a worker has stored a stream entry, only Redis holds it. HookHub is not blamed for entries that Redis lost
    before that.
    """
    for event in records.published:
        if event.key in records.stored or (event.said == "acknowledged" and not _is_forgotten(event, records)):
            yield event


def _is_forgotten(event: Published, records: Records) -> bool:
    """Return whether Redis may have lost a stream entry before a worker stored it."""
    return event.door == "stream" and any(
        event.at - SLACK <= at <= event.said_at + _stored_within(event, at, records) for at in records.forgotten_at
    )


def _stored_within(event: Published, forgotten_at: float, records: Records) -> float:
    """Return for how many seconds an entry may have waited in Redis.

    An entry pending at a dead worker waits until another worker claims it.
    """
    span = (event.at - SLACK, forgotten_at)
    if is_overlapped(*span, records.interruptions, kinds={"process"}):
        return records.stored_within
    return STORED_WITHIN + held_up(*span, records.interruptions, kinds=DELAYING_ENTRIES)


def is_owed(event: Published, hook: Hook, records: Records) -> bool:
    """Return whether a webhook must get an event: it matches, and was accepted before the webhook was disabled."""
    if not matches(hook.topics, event.type):
        return False
    return hook.disabled_at is None or records.stored.get(event.key, event.at) < hook.disabled_at - SLACK


def _fault_in_ending(one: Owed, hook: Hook, attempts: Sequence[Attempted], requests: Sequence[Arrival]) -> str | None:
    """Return why a delivery that never arrived must not be in its final state, or None when it may be."""
    if one.state == "held":
        return None if hook.disabled_at is not None else "held, but the webhook is active"
    if one.state != "failed":
        return f"{one.state}, but never received"
    if len(attempts) != one.attempts_made:
        return f"failed, with {len(attempts)} attempts on record instead of {one.attempts_made}"
    return _fault_in_failure(one.ending, hook, attempts, requests)


def _fault_in_failure(
    ending: str | None, hook: Hook, attempts: Sequence[Attempted], requests: Sequence[Arrival]
) -> str | None:
    """Return why a delivery must not have failed, or not with this finish reason; None when both are right."""
    failures = sum(attempt.outcome in FAILED for attempt in attempts)
    unknown = len(attempts) - failures
    earned = {
        "exhausted": failures > len(hook.schedule),
        "poisonous": unknown >= POISONOUS_AFTER,
        "gone": any(request.answer == "410" for request in requests),
    }
    if not earned.get(ending or "", False):
        return f"failed as {ending} after {failures} of {len(hook.schedule) + 1} failures and {unknown} lost leases"
    return f"failed as {ending}, but the receiver accepts everything" if hook.is_healthy else None


def _fault_in_disabling(hook: Hook, records: Records) -> str | None:
    """Return why a webhook must not be disabled, or must not be active; None when its status is right."""
    if hook.disabled_at is None:
        is_doomed = any(one.path == hook.path and one.ending == "exhausted" for one in records.owed)
        return "a delivery was exhausted, but the webhook is still active" if hook.disables and is_doomed else None
    if not hook.disables:
        return "disabled, but auto-disable is off"
    asked_at = min((request.at for request in records.arrivals if request.path == hook.path), default=hook.disabled_at)
    lasted = hook.disabled_at - asked_at
    return f"disabled after only {lasted:.1f} s of failures" if lasted < sum(hook.schedule) - SLACK else None


# 2: unexpected ------------------------------------------------------------------------------------------------------


def strangers(records: Records) -> Iterator[str]:
    """Yield each request that is unexpected.

    Such a request carries an event that was not published or whose publishing was rejected, the id of another delivery,
    different bytes, an invalid signature, or a type outside the subscription.
    """
    published = {event.key: event for event in records.published}
    topics = {hook.path: hook.topics for hook in records.hooks}
    owed = {one.id: (one.key, one.path) for one in records.owed}
    for arrival in records.arrivals:
        event = published.get(arrival.key)
        if event is None:
            yield f"{arrival.path} received {arrival.key or 'an unknown event'}, which was not published"
        elif event.said == "refused":
            yield f"{arrival.path} received {arrival.key}, whose publishing was rejected"
        elif arrival.sha != event.sha:
            yield f"{arrival.path} received {arrival.key} with different bytes"
        elif arrival.signature != "valid":
            yield f"{arrival.path} received {arrival.key} with a bad signature: {arrival.signature}"
        elif not matches(topics.get(arrival.path, ()), event.type):
            yield f"{arrival.path} received {arrival.key}, to which it is not subscribed"
        elif owed.get(arrival.delivery) != (arrival.key, arrival.path):
            yield f"{arrival.path} received {arrival.key} under the id of another delivery, {arrival.delivery}"
    for one in records.owed:
        if one.key not in published:
            yield f"delivery {one.id} ({one.path}) is of {one.key or 'an unknown event'}, which was not published"


# 3: unrecorded ------------------------------------------------------------------------------------------------------


def unrecorded(records: Records) -> Iterator[str]:
    """Yield each request without an attempt, and each attempt answered or lost on the way without a request."""
    arrivals, attempts = by_delivery(records.arrivals), by_delivery(records.attempts)
    for delivery in arrivals.keys() | attempts.keys():
        requests, recorded = arrivals.get(delivery, []), attempts.get(delivery, [])
        fits = [[_covers(one, request.at, records) for request in requests] for one in recorded]
        needy = [place for place, one in enumerate(recorded) if _needs_a_request(one, records)]
        taken = pair_off(fits, first=needy)
        for place in needy:
            if place not in taken.values():
                one = recorded[place]
                yield f"{delivery}: attempt {one.number} is {one.outcome}, but no request of it arrived"
        left = [request for place, request in enumerate(requests) if place not in taken]
        for request in left[may_have_been_repeated(requests, records) :]:
            yield f"{delivery}: the request to {request.path} at {request.at:.3f} has no attempt"


def _needs_a_request(one: Attempted, records: Records) -> bool:
    """Return whether an attempt's request must have arrived; an interrupted attempt may not have sent one."""
    if one.outcome == "delivered" or one.status is not None:
        return True
    is_told_of = one.outcome == "lost" and one.ended_at is not None
    return is_told_of and not is_overlapped(one.started_at, one.ended_at or 0, records.interruptions)


def _covers(one: Attempted, at: float, records: Records) -> bool:
    """Return whether a request may belong to an attempt.

    A worker that was paused sends only after it is resumed.
    """
    if at < one.started_at - SLACK:
        return False
    if one.outcome == "unknown" or one.ended_at is None or at <= one.ended_at + SEEN_LATE:
        return True
    longest = max([records.lease, *(hook.timeout for hook in records.hooks)]) + SLACK
    return at <= one.ended_at + longest and is_overlapped(one.started_at, at, records.interruptions)


# 4: duplicated ------------------------------------------------------------------------------------------------------


def duplicates(records: Records) -> Iterator[str]:
    """Yield each event that a webhook took again without a kill or cut in flight; each kill or cut explains one."""
    attempts = by_delivery(records.attempts)
    for (key, path), taken in taken_twice(records).items():
        met = sum(may_have_met(one, taken, attempts, records.interruptions) for one in records.interruptions)
        if len(taken) - 1 > met:
            yield f"{key} was accepted {len(taken)} times by {path}, but interrupted only {met} times"


def taken_twice(records: Records) -> dict[tuple[str, str], list[Arrival]]:
    """Return, by key and path, the requests of each event that a webhook took more than once, under whatever ids."""
    found: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
    for arrival in records.arrivals:
        if arrival.is_taken:
            found[arrival.key, arrival.path].append(arrival)
    return {which: taken for which, taken in found.items() if len(taken) > 1}


def allowed_duplicates(records: Records) -> int:
    """Return the most duplicates that the faults explain: the number of requests in flight at kills and cuts."""
    attempts = by_delivery(records.attempts)
    return sum(
        may_have_met(one, taken, attempts, records.interruptions)
        for taken in taken_by_delivery(records).values()
        for one in records.interruptions
    )


# 5: off schedule ----------------------------------------------------------------------------------------------------


def untimely(records: Records) -> Iterator[str]:
    """Yield each retry that is off schedule.

    A retry is early before its step of the schedule is over. It is late after that step, its jitter and the faults in
    between. An attempt with an unknown outcome is repeated when its lease expires at the latest, and uses up no step.
    """
    hooks = {hook.path: hook for hook in records.hooks}
    paths = {one.id: one.path for one in records.owed}
    requests = by_delivery(records.arrivals)
    for delivery, attempts in by_delivery(records.attempts).items():
        hook = hooks.get(paths.get(delivery, ""))
        if hook is None:
            continue
        for one, following, (step, longest) in steps(attempts, hook.schedule, lease=records.lease):
            gap = following.started_at - (one.ended_at or 0)
            # The receiver does not know HookHub's clocks: it sees only when each request arrived.
            seen = _seen_gap(requests.get(delivery, ()), one, following)
            is_early = gap < step - SLACK / 10 or (seen is not None and seen < step - SLACK)
            # A worker that held the delivery for longer than its lease had lost it, so the next attempt was due at
            # once.
            if is_early and following.started_at < one.started_at + records.lease - SLACK:
                yield (
                    f"{delivery} ({hook.path}): attempt {following.number} came {min(gap, seen or gap):.3f} s after "
                    f"attempt {one.number}, before the scheduled {step:g} s"
                )
            yield from _too_late(delivery, one, following, since=one.ended_at or 0, wait=longest * 1.1, records=records)
        for one, following in pairwise(sorted(attempts, key=lambda one: one.number)):
            if one.outcome == "unknown":
                wait = records.lease
                yield from _too_late(delivery, one, following, since=one.started_at, wait=wait, records=records)


def _too_late(
    delivery: str, one: Attempted, following: Attempted, *, since: float, wait: float, records: Records
) -> Iterator[str]:
    gap = following.started_at - since
    latest = wait + records.late_allowed + held_up(since, following.started_at, records.interruptions)
    if gap > latest:
        yield (
            f"{delivery}: attempt {following.number} came {gap:.3f} s after attempt {one.number}; "
            f"the limit is {latest:.1f} s"
        )


def steps(
    attempts: Sequence[Attempted], schedule: Sequence[float], *, lease: float
) -> Iterator[tuple[Attempted, Attempted, tuple[float, float]]]:
    """Yield each failed attempt with its successor, and the shortest and longest allowed wait between them in seconds.

    An attempt with an unknown outcome uses up no step. Where two attempts overlap, or may overlap because a lease
    expired, it is uncertain from there on which step applies.
    """
    ordered = sorted(attempts, key=lambda one: one.number)
    is_clear, failures = True, 0
    for one, following in pairwise(ordered):
        if one.outcome == "unknown":
            continue
        if one.outcome not in FAILED or one.ended_at is None or following.started_at < one.ended_at:
            is_clear = False
            continue
        is_clear = is_clear and following.started_at < one.started_at + lease - SLACK
        step = schedule[failures : failures + 1] if is_clear else schedule
        failures += 1
        yield one, following, (min(step, default=0), max(step, default=0))


def _seen_gap(requests: Sequence[Arrival], one: Attempted, following: Attempted) -> float | None:
    """Return the seconds between two attempts' requests as the receiver saw them, counted from the end of the first."""
    times = [request.at for request in requests]
    place = bisect_left(times, following.started_at - SLACK)
    if one.ended_at is None or place == 0 or place == len(times) or times[place - 1] < one.started_at - SLACK:
        return None
    return times[place] - max(requests[place - 1].answered_at, one.ended_at)


# 6: not quiescent ---------------------------------------------------------------------------------------------------


def unrest(records: Records) -> Iterator[str]:
    """Yield whatever is not quiescent at the end.

    At the end, no delivery is pending or in flight, no lease is left, the attempt counts match, and ``check_ledger`` is
    clean.
    """
    recorded = by_delivery(records.attempts)
    seen: set[tuple[str, str]] = set()
    for one in records.owed:
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
    yield from (f"check_ledger: {line}" for line in records.ledger)


# 7: late ------------------------------------------------------------------------------------------------------------


def sluggish(records: Records) -> Iterator[str]:
    """Yield each event that came late to a healthy webhook, beyond what the faults explain.

    Where the scenario demands promptness, also checks the median delay.
    """
    yield from _latecomers(records)
    if records.prompt_within is None:
        return
    late = delays(records)
    median = percentile(late, 50)
    if not late:
        yield "nothing arrived at a healthy webhook"
    elif median > records.prompt_within:
        yield f"the median latency is {median:.3f} s; the limit is {records.prompt_within:g} s"


def _latecomers(records: Records) -> Iterator[str]:
    """Yield the events that reached a healthy webhook later than the faults explain."""
    healthy = {hook.path: hook for hook in records.hooks if hook.is_healthy}
    first: dict[tuple[str, str], float] = {}
    for arrival in records.arrivals:
        if arrival.path in healthy and arrival.is_taken:
            first.setdefault((arrival.key, arrival.path), arrival.at)
    for event in accepted(records):
        since = _known_since(event, records)
        for path in healthy:
            at = first.get((event.key, path), since)
            # Tolerances are slow to compute, so only for the few events that are late.
            if at - since > records.late_allowed:
                latest = records.late_allowed + _excuse(event, since, at, records)
                if at - since > latest:
                    yield f"{event.key} reached {path} after {at - since:.1f} s; the limit is {latest:.1f} s"


def _known_since(event: Published, records: Records) -> float:
    """Return when HookHub became responsible for an event, by the publisher's clock where it got an answer.

    The time that a worker stores for a stream entry comes from the worker's clock, which may be wrong.
    """
    if event.said == "acknowledged" or event.door == "stream":
        return event.said_at
    return max(event.said_at, records.stored.get(event.key, event.said_at))


def _excuse(event: Published, since: float, at: float, records: Records) -> float:
    """Return how many seconds later an event may reach a healthy webhook because of the faults in between."""
    kinds = DELAYING_ENTRIES if event.door == "stream" else DELAYING
    excuse = held_up(since, at, records.interruptions, kinds=kinds)
    if is_overlapped(since, at, records.interruptions, kinds=kinds):
        excuse += records.stored_within if event.door == "stream" else records.lease
    if is_overlapped(since, at, records.interruptions, kinds={"receiver"}):
        excuse += REST
    return excuse


RULES: Mapping[int, Callable[[Records], Iterator[str]]] = {
    1: losses,
    2: strangers,
    3: unrecorded,
    4: duplicates,
    5: untimely,
    6: unrest,
    7: sluggish,
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

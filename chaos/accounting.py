"""The accounting: seven rules, each a pure function from the records to what breaks it."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from chaos.figures import by_delivery, delays, percentile, taken_by_delivery
from chaos.matching import pair_off
from chaos.records import Arrival, Attempted, Breach, Hook, Interruption, Owed, Published, Records, matches

# A clock that is read in one process and compared in another may be off by a look at the database.
SLACK = 0.25
# libcurl repeats a request by itself when a kept connection breaks before the first byte of an answer.
UNANSWERED = frozenset({"reset"})
FAILED = frozenset({"refused", "lost"})


def check(records: Records) -> list[Breach]:
    """Give everything that breaks a rule, rule by rule."""
    return [Breach(number, what) for number, rule in RULES.items() for what in rule(records)]


# 1 ------------------------------------------------------------------------------------------------------------------


def losses(records: Records) -> Iterator[str]:
    """Every accepted event and matching webhook: it arrived, or is in the log as failed or held with its attempts."""
    taken = {(arrival.key, arrival.path) for arrival in records.arrivals if arrival.is_taken}
    owed = {(one.key, one.path): one for one in records.owed}
    recorded: dict[str, int] = defaultdict(int)
    for attempt in records.attempts:
        recorded[attempt.delivery] += 1
    for event in accepted(records):
        for hook in records.hooks:
            if not is_owed(event, hook, records) or (event.key, hook.path) in taken:
                continue
            one = owed.get((event.key, hook.path))
            if one is None:
                yield f"{event.key} to {hook.path}: {event.said}, and nobody knows of it any more"
            elif fault := _fault_in_ending(one, hook, recorded[one.id]):
                yield f"{event.key} to {hook.path}: {fault}"


def accepted(records: Records) -> Iterator[Published]:
    """Give the events that must be delivered: acknowledged ones, and any that is stored whatever its publisher heard.

    Redis alone answers for an entry of the stream until a worker has stored it; what it forgot before is not held
    against HookHub.
    """
    for event in records.published:
        is_stored = event.key in records.stored
        is_excused = event.door == "stream" and any(
            event.at <= forgotten_at + SLACK and forgotten_at <= event.said_at + records.stored_within
            for forgotten_at in records.forgotten_at
        )
        if is_stored or (event.said == "acknowledged" and not is_excused):
            yield event


def is_owed(event: Published, hook: Hook, records: Records) -> bool:
    """Tell whether a webhook is owed an event: whatever was accepted before it was disabled."""
    if not matches(hook.topics, event.type):
        return False
    return hook.disabled_at is None or records.stored.get(event.key, event.at) < hook.disabled_at - SLACK


def _fault_in_ending(one: Owed, hook: Hook, recorded: int) -> str | None:
    """Say why a delivery that never arrived may not be at rest."""
    if one.state == "held":
        return None if hook.disabled_at is not None else "held, and the webhook is active"
    if one.state != "failed":
        return f"{one.state}, and never taken"
    if recorded != one.attempts_made:
        return f"failed, with {recorded} of {one.attempts_made} attempts in the log"
    if one.ending == "exhausted" and recorded <= len(hook.schedule):
        return f"given up after {recorded} attempts of {len(hook.schedule) + 1}"
    return None


# 2 ------------------------------------------------------------------------------------------------------------------


def strangers(records: Records) -> Iterator[str]:
    """Nothing arrives that was not published, in other bytes, unsigned, or at a webhook that did not ask for it."""
    published = {event.key: event for event in records.published}
    topics = {hook.path: hook.topics for hook in records.hooks}
    for arrival in records.arrivals:
        event = published.get(arrival.key)
        if event is None:
            yield f"{arrival.path} got {arrival.key or 'something'}, which nobody published"
        elif event.said == "refused":
            yield f"{arrival.path} got {arrival.key}, which was refused"
        elif arrival.sha != event.sha:
            yield f"{arrival.path} got {arrival.key} in other bytes than it was published in"
        elif arrival.signature != "valid":
            yield f"{arrival.path} got {arrival.key} with a signature that is {arrival.signature}"
        elif not matches(topics.get(arrival.path, ()), event.type):
            yield f"{arrival.path} got {arrival.key}, for which it did not ask"


# 3 ------------------------------------------------------------------------------------------------------------------


def unrecorded(records: Records) -> Iterator[str]:
    """Every request has its attempt, and every attempt that succeeded, or was answered, has its request."""
    arrivals, attempts = by_delivery(records.arrivals), by_delivery(records.attempts)
    patience = max([records.lease, *(hook.timeout for hook in records.hooks)]) + SLACK
    for delivery in arrivals.keys() | attempts.keys():
        requests, recorded = arrivals.get(delivery, []), attempts.get(delivery, [])
        fits = [[_covers(one, request.at, patience=patience) for request in requests] for one in recorded]
        needy = [place for place, one in enumerate(recorded) if one.outcome == "delivered" or one.status is not None]
        taken = pair_off(fits, first=needy)
        for place in needy:
            if place not in taken.values():
                one = recorded[place]
                yield f"{delivery}: attempt {one.number} is {one.outcome}, and no request of it arrived"
        for place, request in enumerate(requests):
            if place not in taken and not _may_be_a_repeat(requests[:place], records.interruptions):
                yield f"{delivery}: a request to {request.path} at {request.at:.3f} is in no attempt"


def _may_be_a_repeat(earlier: Sequence[Arrival], interruptions: Sequence[Interruption]) -> bool:
    """Tell whether libcurl may have repeated a request by itself: the one before was cut off without an answer."""
    return any(
        request.answer in UNANSWERED
        or any(one.in_hand is None and one.at - SLACK <= request.at <= one.until + SLACK for one in interruptions)
        for request in earlier
    )


def _covers(one: Attempted, at: float, *, patience: float) -> bool:
    """Tell whether a request may be that of an attempt; a worker that was held up sends as late as it wakes."""
    end = float("inf") if one.outcome == "unknown" or one.ended_at is None else one.ended_at + patience
    return one.started_at - SLACK <= at <= end


# 4 ------------------------------------------------------------------------------------------------------------------


def duplicates(records: Records) -> Iterator[str]:
    """A delivery is taken again only if a kill or a cut met it in flight, once for each of them."""
    attempts = by_delivery(records.attempts)
    for delivery, taken in taken_by_delivery(records).items():
        if len(taken) > 1:
            met = sum(may_have_met(one, taken, attempts.get(delivery, ()), records) for one in records.interruptions)
            if len(taken) - 1 > met:
                yield f"{delivery} ({taken[0].path}) was taken {len(taken)} times, and cut short {met} times"


def allowed_duplicates(records: Records) -> int:
    """Give how many requests were in flight at kills and cuts: so many may have been repeated at most."""
    attempts = by_delivery(records.attempts)
    return sum(
        may_have_met(one, taken, attempts.get(delivery, ()), records)
        for delivery, taken in taken_by_delivery(records).items()
        for one in records.interruptions
    )


def may_have_met(one: Interruption, taken: Sequence[Arrival], attempts: Sequence[Attempted], records: Records) -> bool:
    """Tell whether a request that was taken can have been in the hands that an interruption cut off."""
    if one.in_hand is not None and taken[0].delivery not in one.in_hand:
        return False
    longest = max((hook.timeout for hook in records.hooks), default=0) + SLACK
    if one.in_hand is None:
        return any(one.at - longest <= arrival.at <= one.until + longest for arrival in taken)
    # What a process holds when it is halted was sent shortly before.
    if any(one.at - longest <= arrival.at <= one.at + SLACK for arrival in taken):
        return True
    # What one that goes on later held may be sent only then.
    is_sent_after = any(one.until - SLACK <= arrival.at <= one.until + longest for arrival in taken)
    return not one.is_kill and is_sent_after and _is_any_late(one, attempts)


def _is_any_late(one: Interruption, attempts: Sequence[Attempted]) -> bool:
    """Tell whether an attempt that began before a process was held up can have ended after it, or was overtaken."""
    ordered = sorted(attempts, key=lambda attempt: attempt.number)
    is_overtaken = any(earlier.started_at > later.started_at for earlier, later in pairwise(ordered))
    return is_overtaken or any(
        attempt.started_at <= one.at + SLACK and (attempt.ended_at is None or attempt.ended_at >= one.until - SLACK)
        for attempt in ordered
    )


# 5 ------------------------------------------------------------------------------------------------------------------


def untimely(records: Records) -> Iterator[str]:
    """No retry comes earlier than its schedule promises, and none later than that, its jitter, and what was in its way.

    An attempt whose outcome nobody knew is repeated at once, and uses up no step.
    """
    hooks = {hook.path: hook for hook in records.hooks}
    paths = {one.id: one.path for one in records.owed}
    requests = by_delivery(records.arrivals)
    for delivery, attempts in by_delivery(records.attempts).items():
        hook = hooks.get(paths.get(delivery, ""))
        if hook is None:
            continue
        for one, following, step in steps(attempts, hook.schedule):
            gap = following.started_at - (one.ended_at or 0)
            # A receiver knows nothing of our clocks: it sees when it was asked, and when it was asked again.
            seen = _seen_gap(requests.get(delivery, ()), one, following)
            is_early = gap < step - SLACK / 10 or (seen is not None and seen < step - SLACK)
            # Whoever held it for longer than its lease had lost it, and the next attempt was due at once.
            if is_early and following.started_at < one.started_at + records.lease - SLACK:
                yield (
                    f"{delivery} ({hook.path}): attempt {following.number} came {min(gap, seen or gap):.3f} s after "
                    f"attempt {one.number}, and {step:g} s were promised"
                )
            begun_at, asked_at = one.ended_at or 0, following.started_at
            excuse = held_up(begun_at, asked_at, records.interruptions)
            latest = step * 1.1 + records.late_allowed + excuse
            if gap > latest:
                yield (
                    f"{delivery} ({hook.path}): attempt {following.number} came {gap:.3f} s after attempt "
                    f"{one.number}; {latest:.1f} s are the most"
                )


def steps(attempts: Sequence[Attempted], schedule: Sequence[float]) -> Iterator[tuple[Attempted, Attempted, float]]:
    """Give each failed attempt with the one that followed it and the wait promised between them.

    Where two attempts overlap, or one was not told of, a lease had run out, and it is not clear which step was taken.
    """
    ordered = sorted(attempts, key=lambda one: one.number)
    is_clear, failures = True, 0
    for one, following in pairwise(ordered):
        if one.outcome not in FAILED or one.ended_at is None or following.started_at < one.ended_at:
            is_clear = False
            continue
        step = schedule[failures] if is_clear and failures < len(schedule) else min(schedule, default=0)
        failures += 1
        yield one, following, step


def _seen_gap(requests: Sequence[Arrival], one: Attempted, following: Attempted) -> float | None:
    """Give the time between two attempts' requests as the receiver saw it, counted from the end of the first."""
    times = [request.at for request in requests]
    place = bisect_left(times, following.started_at - SLACK)
    if one.ended_at is None or place == 0 or place == len(times) or times[place - 1] < one.started_at - SLACK:
        return None
    return times[place] - max(times[place - 1], one.ended_at)


def held_up(begun_at: float, ended_at: float, interruptions: Iterable[Interruption]) -> float:
    """Give for how long interruptions lasted within a span."""
    return sum(max(0.0, min(ended_at, one.until) - max(begun_at, one.at)) for one in interruptions)


# 6 ------------------------------------------------------------------------------------------------------------------


def unrest(records: Records) -> Iterator[str]:
    """In the end nothing is being sent or waits, no lease is left, the counts add up, and the ledger is right."""
    recorded = by_delivery(records.attempts)
    seen: set[tuple[str, str]] = set()
    for one in records.owed:
        if one.state not in {"delivered", "failed", "held"}:
            yield f"{one.id} ({one.path}) is {one.state}"
        if one.has_lease:
            yield f"{one.id} ({one.path}) has a lease"
        numbers = sorted(attempt.number for attempt in recorded.get(one.id, ()))
        if numbers != list(range(1, one.attempts_made + 1)):
            yield f"{one.id} ({one.path}) counts {one.attempts_made} attempts, and the log has {numbers}"
        if (one.key, one.path) in seen:
            yield f"{one.key} is owed twice to {one.path}"
        seen.add((one.key, one.path))
    yield from (f"check_ledger: {line}" for line in records.ledger)


# 7 ------------------------------------------------------------------------------------------------------------------


def sluggish(records: Records) -> Iterator[str]:
    """Where nothing was in the way, healthy webhooks hear of an event at once."""
    if records.prompt_within is None:
        return
    late = delays(records)
    median = percentile(late, 50)
    if not late:
        yield "nothing arrived at a healthy webhook"
    elif median > records.prompt_within:
        yield f"half of the events took more than {median:.3f} s to arrive; {records.prompt_within:g} s are the most"


RULES: Mapping[int, Callable[[Records], Iterator[str]]] = {
    1: losses,
    2: strangers,
    3: unrecorded,
    4: duplicates,
    5: untimely,
    6: unrest,
    7: sluggish,
}

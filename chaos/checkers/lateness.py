"""The rule about the time from the publisher to a healthy webhook."""

from collections.abc import Iterator

from chaos.checkers.losses import accepted
from chaos.checkers.metrics import delays
from chaos.checkers.tolerances import DELAYING, DELAYING_ENTRIES, interrupted_seconds, is_overlapped
from chaos.history import History, Published
from testbed.sampling import percentile

# Seconds. A webhook whose receiver keeps timing out backs off, and is then probed with a single request.
REST = 15.0


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

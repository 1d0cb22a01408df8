"""Checks that a run is a valid test: nothing failed to happen that had to, and no process of the harness failed."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from chaos.history import Arrival, Interruption, Published, Webhook
from chaos.workload.events import Route
from chaos.workload.publisher import BATCH, is_rejection

Span = tuple[float, float]

# How a worker logs that one of its children ended, and how the web server does.
CHILD_ENDED = re.compile(r"Process '.*' pid:(\d+) exited with '(.*)'")
WEB_CHILD_ENDED = re.compile(r"The web process (\d+) ((?:was killed by|ended with) .*);")


def undisturbed_seconds(begun_at: float, ended_at: float, spans: Iterable[Span]) -> float:
    """Return how many seconds of an interval lie outside all spans."""
    is_open, since = 0.0, begun_at
    for span_at, span_until in sorted(spans):
        is_open += max(0.0, min(span_at, ended_at) - since)
        since = max(since, span_until)
    return is_open + max(0.0, ended_at - since)


def starved_routes(
    published: Iterable[Published], rates: Mapping[Route, float], *, seconds: float, share: float
) -> Iterator[str]:
    """Yield each route that accepted less than a share of its rate, or nothing, while no fault was active.

    A rate counts requests; a request of the route "batch" has ten events. Publishers wait for their answers, and
    a killed web server stays down for seconds after the kill, so the share must be far below 1.
    """
    got_through = Counter(event.route for event in published if event.outcome == "acknowledged")
    for route, rate in rates.items():
        promised = rate * (BATCH if route == "batch" else 1) * seconds
        least = max(1.0, promised * share)
        if got_through[route] < least:
            yield f"{route!r} accepted {got_through[route]} events; at least {least:g} are required"


def unreached_webhooks(arrivals: Iterable[Arrival], webhooks: Iterable[Webhook]) -> Iterator[str]:
    """Yield each webhook with a healthy receiver that received nothing."""
    received = {arrival.path for arrival in arrivals}
    for webhook in webhooks:
        if webhook.is_healthy and webhook.path not in received:
            yield f"{webhook.path} received nothing"


def silent_outages(arrivals: Sequence[Arrival], webhooks: Iterable[Webhook], spans: Iterable[Span]) -> Iterator[str]:
    """Yield each span with a server missing in which nothing arrived at a healthy webhook."""
    healthy = {webhook.path for webhook in webhooks if webhook.is_healthy}
    times = [arrival.at for arrival in arrivals if arrival.path in healthy]
    for at, until in spans:
        if not any(at <= time <= until for time in times):
            yield f"nothing arrived during the {until - at:.1f} s in which a server was missing"


def idle_kills(interruptions: Iterable[Interruption], *, at_least: int) -> Iterator[str]:
    """Yield a message if the kills met fewer deliveries in flight than required."""
    met = sum(len(one.leased or ()) for one in interruptions if one.is_kill)
    if met < at_least:
        yield f"the kills met {met} leased deliveries; at least {at_least} are required"


def rejections(lines: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Yield the statuses with which publishers' requests were rejected; all of their requests are valid."""
    found = [(line["status"], line["key"]) for line in lines if isinstance(line.get("status"), int)]
    rejected = [(status, key) for status, key in found if is_rejection(status)]  # type: ignore[arg-type]
    for status, count in sorted(Counter(status for status, _ in rejected).items(), key=str):
        first = next(key for one, key in rejected if one == status)
        yield f"{count} valid events were rejected with {status}, first {first}"


def helper_failures(module: str, *, ended_early: bool, was_killed: bool, code: int, log: str) -> Iterator[str]:
    """Yield what went wrong with a helper process of the harness, which leaves gaps in the history."""
    if ended_early:
        yield f"{module} ended before it was stopped"
    if was_killed:
        yield f"{module} did not end when it was stopped"
    elif code:
        yield f"{module} exited with {code}"
    if "Traceback" in log:
        yield f"{module} failed: {log.strip().splitlines()[-1]}"


def crashes(name: str, log: str, *, killed: Container[int]) -> Iterator[str]:
    """Yield the children of a worker or a web server that ended without having been killed, according to its log."""
    ended = WEB_CHILD_ENDED if name == "web" else CHILD_ENDED
    for pid, how in ended.findall(log):
        if int(pid) not in killed:
            yield f"a child of {name} exited unexpectedly: {how}"

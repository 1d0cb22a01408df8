"""Whether a run was a test at all: what had to happen in it and did not, and what happened that nobody meant."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from chaos.publisher import BATCH, is_rejection
from chaos.records import Arrival, Door, Hook, Interruption, Published

Span = tuple[float, float]

# What is written of a worker's child that ended by itself, and of a web server's process.
CHILD_ENDED = re.compile(r"Process '.*' pid:(\d+) exited with '(.*)'")
WEB_CHILD_ENDED = "Unexpected exit from worker-"


def open_seconds(begun_at: float, ended_at: float, spans: Iterable[Span]) -> float:
    """Give how much of a time lies in none of the spans, in seconds."""
    is_open, since = 0.0, begun_at
    for span_at, span_until in sorted(spans):
        is_open += max(0.0, min(span_at, ended_at) - since)
        since = max(since, span_until)
    return is_open + max(0.0, ended_at - since)


def quiet_doors(
    published: Iterable[Published], rates: Mapping[Door, float], *, seconds: float, share: float
) -> Iterator[str]:
    """Name each door that let in less than a share of its rate, and less than one event, in seconds without a fault.

    A rate counts requests; one of the door "batch" has ten events. Publishers wait for their answers, and a web server
    that was killed is away for seconds beyond the kill, so that a share far below 1 is as it should be.
    """
    got_through = Counter(event.door for event in published if event.said == "acknowledged")
    for door, rate in rates.items():
        promised = rate * (BATCH if door == "batch" else 1) * seconds
        least = max(1.0, promised * share)
        if got_through[door] < least:
            yield f"{got_through[door]} events got through the door {door!r}, of {promised:.0f} that were meant to"


def deaf_hooks(arrivals: Iterable[Arrival], hooks: Iterable[Hook]) -> Iterator[str]:
    """Name each webhook whose receiver always behaves and that heard of nothing."""
    heard = {arrival.path for arrival in arrivals}
    for hook in hooks:
        if hook.is_healthy and hook.path not in heard:
            yield f"nothing arrived at {hook.path}"


def silent_spans(arrivals: Sequence[Arrival], hooks: Iterable[Hook], spans: Iterable[Span]) -> Iterator[str]:
    """Name each span in which something was absent and nothing arrived at a webhook that always behaves."""
    healthy = {hook.path for hook in hooks if hook.is_healthy}
    times = [arrival.at for arrival in arrivals if arrival.path in healthy]
    for at, until in spans:
        if not any(at <= time <= until for time in times):
            yield f"nothing arrived in the {until - at:.1f} s of an absence"


def idle_kills(interruptions: Iterable[Interruption], *, at_least: int) -> Iterator[str]:
    """Say so when the kills met less work in hand than they were meant to."""
    met = sum(len(one.in_hand or ()) for one in interruptions if one.is_kill)
    if met < at_least:
        yield f"the kills met {met} deliveries in hand, and {at_least} are the least"


def rejections(lines: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Name what publishers were told is wrong with their requests, by status; all of their requests are right."""
    found = [(line["status"], line["key"]) for line in lines if isinstance(line.get("status"), int)]
    rejected = [(status, key) for status, key in found if is_rejection(status)]  # type: ignore[arg-type]
    for status, count in sorted(Counter(status for status, _ in rejected).items(), key=str):
        first = next(key for one, key in rejected if one == status)
        yield f"{count} valid events were answered {status}, first {first}"


def ailments(module: str, *, ended_early: bool, was_killed: bool, code: int, log: str) -> Iterator[str]:
    """Say what was wrong with one of the harness's own processes; without it the records have holes."""
    if ended_early:
        yield f"{module} ended before it was told to"
    if was_killed:
        yield f"{module} did not end when it was told to"
    elif code:
        yield f"{module} ended with {code}"
    if "Traceback" in log:
        yield f"{module} failed: {log.strip().splitlines()[-1]}"


def worker_crashes(name: str, log: str, *, killed: Container[int]) -> Iterator[str]:
    """Name the children of a worker that ended badly without anybody having killed them, from the worker's log."""
    for pid, how in CHILD_ENDED.findall(log):
        if int(pid) not in killed:
            yield f"a child of {name} ended by itself, with {how}"


def web_crashes(log: str, *, meant: int) -> Iterator[str]:
    """Say so when more of the web server's processes ended than were killed or told to, from its log."""
    ended = log.count(WEB_CHILD_ENDED)
    if ended > meant:
        yield f"{ended} processes of the web server ended, and {meant} were killed or told to stop"

"""What three bad receivers do to the other 47: the same load with and without them, each on a fresh HookHub."""

import time

from bench import load, steady
from bench.latency import percentiles
from bench.stage import Sink, Stage, Tell, stage
from hookhub.client import Client

REPOSITORIES = 50
# About a fifth of what two cores deliver: the system is busy but not overloaded.
EVENTS_PER_S = 400
# Each bad receiver gets as many events as six good ones together.
BAD_SHARE = 0.12
BAD = ("hang", "slow", "fail")
# Shorter than the default, so that hanging requests fill their share of the slots more than once in a short benchmark.
TIMEOUT_SECONDS = 5
# Seconds before the measured part, after which all processes have their connections, and the hanging webhook has as
# much in flight as it may.
WARM_UP_SECONDS = 2
# An event that has not arrived this many seconds after the last one was published is lost.
PATIENCE_SECONDS = 15
# A shorter benchmark only proves that it works.
SHORT_SECONDS = 5


def run(seconds: float, tell: Tell) -> dict[str, object]:
    """healthy webhooks next to one that hangs, one that is slow and one that fails."""
    if seconds >= SHORT_SECONDS:
        seconds = max(seconds, 2 * TIMEOUT_SECONDS)
    figures: dict[str, object] = {"events_per_s": EVENTS_PER_S, "share_of_each_bad_one": BAD_SHARE}
    p99 = {}
    for suffix, bad in (("without", False), ("with", True)):
        tell(f"{EVENTS_PER_S} events per second for {seconds:g} s, {suffix} bad receivers …")
        found = measure(seconds, bad=bad, tell=tell)
        figures |= {f"{name}_{suffix}": value for name, value in found.items()}
        p99[suffix] = found["healthy_p99_ms"]
    figures["healthy_p99_ratio"] = round(p99["with"] / p99["without"], 2)
    return figures


def measure(seconds: float, *, bad: bool, tell: Tell) -> dict[str, float]:
    """Publish to a fresh HookHub, and return the latencies of the healthy webhooks."""
    with Sink() as sink, stage(HOOKHUB_TIMEOUT=str(TIMEOUT_SECONDS)) as bench:
        with bench.running("web"), bench.running("worker"), bench.client() as client:
            kinds = make_webhooks(bench, client, sink, bad=bad)
            plan = steady.Plan(bench.url, bench.key, kinds, EVENTS_PER_S, WARM_UP_SECONDS + seconds)
            spent = sum(bench.cpu_seconds().values())
            told = steady.publish(plan)
            spent = sum(bench.cpu_seconds().values()) - spent
            healthy = sum(told.published[len(BAD) :])
            wait_for_arrivals(sink, healthy)
            report = sink.report()
        samples = sink.latencies("/ok/healthy", since=told.begun_at + WARM_UP_SECONDS)
    found = {f"healthy_{name}": value for name, value in percentiles(samples).items()}
    found |= {
        "healthy_lost": healthy - report["/ok/healthy"]["distinct"],
        "healthy_duplicated": report["/ok/healthy"]["duplicated"],
        "healthy_samples": len(samples),
        "publisher_most_behind_ms": told.most_behind_ms,
        "cores_busy": round(spent / plan.seconds, 2),
    }
    if bad:
        found |= {f"{name}_requests": report[f"/{name}"]["count"] for name in BAD}
        found["hang_most_in_flight"] = report["/hang"]["most_in_flight"]
    tell(f"  {found}")
    return found


def make_webhooks(bench: Stage, client: Client, sink: Sink, *, bad: bool) -> tuple[steady.Kind, ...]:
    """Create a repository and a webhook for each stream of events; the bad ones come first.

    Without the bad ones, the same streams go to receivers that answer at once.
    """
    kinds = []
    for number in range(REPOSITORIES):
        name = f"repository-{number}"
        load.make_repository(bench, name)
        if number < len(BAD):
            path, share = f"/{BAD[number]}" if bad else f"/ok/instead-of-{BAD[number]}", BAD_SHARE
        else:
            path, share = "/ok/healthy", (1 - len(BAD) * BAD_SHARE) / (REPOSITORIES - len(BAD))
        client.webhooks.create(sink.url(path), events=["push"], repository=name)
        kinds.append(steady.Kind("push", name, share))
    return tuple(kinds)


def wait_for_arrivals(sink: Sink, count: int) -> None:
    """Wait until ``count`` events have reached the healthy webhooks, or the rest can be considered lost."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while sink.report().get("/ok/healthy", {"distinct": 0})["distinct"] < count and time.monotonic() < give_up_at:
        time.sleep(0.1)

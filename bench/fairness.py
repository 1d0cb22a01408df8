"""What three bad receivers do to the other 47: the same load with and without them, each on a fresh HookHub."""

import time

from bench import load, steady
from bench.setup import SHORT_SECONDS, ReceiverProcess, fresh_instance
from testbed.instance import Instance
from testbed.processes import Log
from testbed.sampling import percentiles

REPOSITORIES = 50
# The system is busy but not overloaded.
EVENTS_PER_S = 200
# Each bad receiver gets as many events as six good ones together.
BAD_SHARE = 0.12
BAD = ("hang", "slow", "fail")
# So long that requests that hang reach the default timeout, and their webhook is given less, twice.
SECONDS_WITH = 35
# Seconds before the measured part, after which all processes have their connections, and the hanging webhook has as
# much in flight as it may.
WARM_UP_SECONDS = 2
# An event that has not arrived this many seconds after the last one was published is lost.
PATIENCE_SECONDS = 15


def run(seconds: float, log: Log) -> dict[str, object]:
    """healthy webhooks next to one that hangs, one that is slow and one that fails."""
    seconds_with = max(seconds, SECONDS_WITH) if seconds >= SHORT_SECONDS else seconds
    figures: dict[str, object] = {"events_per_s": EVENTS_PER_S, "share_of_each_bad_one": BAD_SHARE}
    p99 = {}
    for suffix, bad, span in (("without", False, seconds), ("with", True, seconds_with)):
        log(f"{EVENTS_PER_S} events per second for {span:g} s, {suffix} bad receivers …")
        found = measure(span, bad=bad, log=log)
        figures |= {f"{name}_{suffix}": value for name, value in found.items()}
        p99[suffix] = found["healthy_p99_ms"]
    figures["healthy_p99_ratio"] = round(p99["with"] / p99["without"], 2)
    return figures


def measure(seconds: float, *, bad: bool, log: Log) -> dict[str, float]:
    """Publish to a fresh HookHub, and return the latencies of the healthy webhooks."""
    with ReceiverProcess() as receiver, fresh_instance() as instance:
        with instance.started("web"), instance.started("worker"):
            kinds = make_webhooks(instance, receiver, bad=bad)
            plan = steady.Plan(instance.url, instance.key, kinds, EVENTS_PER_S, WARM_UP_SECONDS + seconds)
            spent = sum(instance.cpu_seconds().values())
            result = steady.publish(plan)
            spent = sum(instance.cpu_seconds().values()) - spent
            healthy = sum(result.published[len(BAD) :])
            wait_for_arrivals(receiver, healthy)
            report = receiver.report()
        samples = receiver.latencies("/ok/healthy", since=result.begun_at + WARM_UP_SECONDS)
    found = {f"healthy_{name}": value for name, value in percentiles(samples).items()}
    found |= {
        "healthy_lost": healthy - report["/ok/healthy"]["distinct"],
        "healthy_duplicated": report["/ok/healthy"]["duplicated"],
        "healthy_samples": len(samples),
        "publisher_most_behind_ms": result.most_behind_ms,
        "cores_busy": round(spent / plan.seconds, 2),
    }
    if bad:
        found |= {f"{name}_requests": report[f"/{name}"]["count"] for name in BAD}
        found["hang_most_in_flight"] = report["/hang"]["most_in_flight"]
    log(f"  {found}")
    return found


def make_webhooks(instance: Instance, receiver: ReceiverProcess, *, bad: bool) -> tuple[steady.Kind, ...]:
    """Create a repository and a webhook for each stream of events; the bad ones come first.

    Without the bad ones, the same streams go to receivers that answer at once.
    """
    kinds = []
    for number in range(REPOSITORIES):
        name = f"repository-{number}"
        load.make_repository(instance, name)
        if number < len(BAD):
            path, share = f"/{BAD[number]}" if bad else f"/ok/instead-of-{BAD[number]}", BAD_SHARE
        else:
            path, share = f"/ok/healthy/{number}", (1 - len(BAD) * BAD_SHARE) / (REPOSITORIES - len(BAD))
        instance.client.webhooks.create(receiver.url(path), events=["push"], repository=name)
        kinds.append(steady.Kind("push", name, share))
    return tuple(kinds)


def wait_for_arrivals(receiver: ReceiverProcess, count: int) -> None:
    """Wait until ``count`` events have reached the healthy webhooks, or the rest can be considered lost."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while receiver.report().get("/ok/healthy", {"distinct": 0})["distinct"] < count and time.monotonic() < give_up_at:
        time.sleep(0.1)

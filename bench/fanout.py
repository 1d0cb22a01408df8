"""One event for a thousand and for ten thousand webhooks: when its publisher gets the answer, and when all get it."""

import statistics
import time
from dataclasses import dataclass

from bench.row_copies import copy_webhooks
from bench.setup import SHORT_SECONDS, ReceiverProcess, fresh_instance
from hookhub.client import Event
from testbed.instance import Instance
from testbed.processes import Log, wait_for
from testbed.sampling import Memory

# The suffix of the figures, by number of webhooks; later ones are added to those before.
WEBHOOKS = {1000: "_1000", 10_000: ""}
WEBHOOKS_IF_SHORT = {500: ""}
MIN_REPETITIONS, MAX_REPETITIONS = 3, 20
# Events for one webhook before each event for all, so that both are accepted under the same conditions.
SINGLE_EVENTS = 10
# Before each event, so that it meets idle workers.
PAUSE_SECONDS = 0.1
# Published at once, so that every worker process has done some work and has filled its caches.
WARM_UP, WARM_UP_IF_SHORT = 1000, 100
ALL, ONE = "/ok/all", "/ok/one"


@dataclass(frozen=True)
class Round:
    """One event for all webhooks, and the single events before it; durations in seconds since it was sent."""

    accepted_one: list[float]
    accepted_all: float
    arrived_all: float
    settled_all: float
    lost: int
    duplicated: int
    memory: Memory


def run(seconds: float, log: Log) -> dict[str, object]:
    """one event to 1,000 and to 10,000 webhooks, repeatedly."""
    sizes = WEBHOOKS if seconds >= SHORT_SECONDS else WEBHOOKS_IF_SHORT
    least, warm_up = (MIN_REPETITIONS, WARM_UP) if seconds >= SHORT_SECONDS else (1, WARM_UP_IF_SHORT)
    found: dict[str, object] = {}
    with fresh_instance() as instance, ReceiverProcess() as receiver, instance.started("web"):
        instance.client.webhooks.create(receiver.url(ONE), events=["single"])
        instance.client.webhooks.create(receiver.url(ALL), events=["broadcast"])
        made = 1
        for webhooks, suffix in sizes.items():
            log(f"Creating {webhooks:,} webhooks …")
            copy_webhooks(instance, webhooks - made, first=made)
            made = webhooks
            share = seconds / len(sizes)
            rounds, before = repeat(instance, receiver, webhooks, warm_up=warm_up, least=least, seconds=share, log=log)
            own = figures(rounds, webhooks=webhooks, before=before)
            found |= {f"{name}{suffix}": value for name, value in own.items()}
        instance.check_ledger()
    return found


def repeat(
    instance: Instance,
    receiver: ReceiverProcess,
    webhooks: int,
    *,
    warm_up: int,
    least: int,
    seconds: float,
    log: Log,
) -> tuple[list[Round], Memory]:
    """Run rounds on a new worker for some seconds; return them, and the memory of the worker before."""
    with instance.started("worker"):
        instance.client.publish_batch(Event("single", {"t": 0, "ref": "refs/heads/main"}) for _ in range(warm_up))
        instance.wait_until_settled()
        before = instance.memory("worker")
        # The first event for all fills the worker's caches.
        play(instance, receiver, webhooks)
        rounds: list[Round] = []
        over_at = time.monotonic() + seconds
        while len(rounds) < least or (time.monotonic() < over_at and len(rounds) < MAX_REPETITIONS):
            rounds.append(play(instance, receiver, webhooks))
            log(f"  {webhooks:,} deliveries arrived in {rounds[-1].arrived_all:.3f} s")
    return rounds, before


def play(instance: Instance, receiver: ReceiverProcess, webhooks: int) -> Round:
    """Publish single events and then one for all webhooks, and wait until everything is settled."""
    accepted_one = [publish_one(instance, receiver) for _ in range(SINGLE_EVENTS)]
    receiver.reset()
    time.sleep(PAUSE_SECONDS)
    started = time.monotonic()
    instance.client.publish("broadcast", {"t": started, "ref": "refs/heads/main"})
    accepted = time.monotonic()
    wait_for(lambda: receiver.counts(ALL)["count"] >= webhooks, "the last delivery to arrive", pause=0.05)
    memory = instance.memory("worker")
    instance.wait_until_settled()
    settled = time.monotonic()
    report = receiver.report()[ALL]
    return Round(
        accepted_one=accepted_one,
        accepted_all=accepted - started,
        arrived_all=report["last_at"] - started,
        settled_all=settled - started,
        lost=webhooks - report["distinct"],
        duplicated=report["duplicated"],
        memory=memory,
    )


def publish_one(instance: Instance, receiver: ReceiverProcess) -> float:
    """Publish an event for one webhook and wait until it arrives; return how many seconds the publisher waited."""
    time.sleep(PAUSE_SECONDS)
    before = receiver.counts(ONE)["count"]
    started = time.monotonic()
    instance.client.publish("single", {"t": started, "ref": "refs/heads/main"})
    accepted = time.monotonic() - started
    wait_for(lambda: receiver.counts(ONE)["count"] > before, "a single event")
    return accepted


def figures(rounds: list[Round], *, webhooks: int, before: Memory) -> dict[str, object]:
    """Combine the rounds: medians of durations, sums of losses and duplicates, and the highest memory use."""
    accepted_one = statistics.median(span for one in rounds for span in one.accepted_one)
    accepted_all = statistics.median(one.accepted_all for one in rounds)
    arrived = statistics.median(one.arrived_all for one in rounds)
    largest = max(one.memory.largest_process_mb for one in rounds)
    return {
        "webhooks": webhooks,
        "repetitions": len(rounds),
        "accept_ms_to_one": round(accepted_one * 1000, 2),
        "accept_ms_to_all": round(accepted_all * 1000, 2),
        "accept_ratio": round(accepted_all / accepted_one, 2),
        "all_arrived_s": round(arrived, 3),
        "all_settled_s": round(statistics.median(one.settled_all for one in rounds), 3),
        "deliveries_per_s": round(webhooks / arrived),
        "lost": sum(one.lost for one in rounds),
        "duplicated": sum(one.duplicated for one in rounds),
        "largest_process_mb_before": before.largest_process_mb,
        "largest_process_mb_after": largest,
        "memory_growth_mb": round(largest - before.largest_process_mb, 1),
        "sum_pss_mb_before": before.sum_pss_mb,
        "sum_pss_mb_after": max(one.memory.sum_pss_mb for one in rounds),
    }

"""One event for webhooks with a proof and a lease, against one for as many without: what either costs a delivery."""

import statistics
import time
from collections.abc import Mapping
from typing import NamedTuple

from bench.row_copies import copy_webhooks
from bench.setup import SHORT_SECONDS, ReceiverProcess, fresh_instance, rows_asked_for
from hookhub.client import Event
from testbed.instance import Instance
from testbed.processes import STARTS_WITHIN_SECONDS, Log, wait_for

# The number of webhooks of each kind, and the suffix of its figures.
WEBHOOKS = {1000: "_1000", 10_000: ""}
WEBHOOKS_IF_SHORT = {500: ""}
MIN_REPETITIONS, MAX_REPETITIONS = 3, 40
# A pair of events for so many webhooks takes minutes.
MANY_WEBHOOKS, REPETITIONS_IF_MANY = 200_000, 2
KINDS = PLAIN, LEASED = "plain", "leased"
# As the proof and the lease of a subscription at the hub leave them.
PROVED = {
    "proof": "'challenge'",
    "verified_at": "clock_timestamp()",
    "expires_at": "clock_timestamp() + interval '10 days'",
}
PAUSE_SECONDS = 0.1
# Slower means that something hangs.
SLOWEST_PER_SECOND = 500


class Round(NamedTuple):
    """One event: seconds until all deliveries had arrived, and CPU seconds of the workers and PostgreSQL."""

    arrived: float
    cpu: float


def run(seconds: float, log: Log) -> dict[str, object]:
    """one event in turns to webhooks that have proved themselves for a time, and to others."""
    sizes = sizes_of(seconds)
    found: dict[str, object] = {}
    for webhooks, suffix in sizes.items():
        least = 1 if seconds < SHORT_SECONDS else REPETITIONS_IF_MANY if webhooks >= MANY_WEBHOOKS else MIN_REPETITIONS
        with fresh_instance() as instance, ReceiverProcess() as receiver:
            log(f"Creating twice {webhooks:,} webhooks …")
            with instance.started("web"):
                make_webhooks(instance, receiver, webhooks)
                rounds = play_in_turns(instance, receiver, webhooks, least=least, seconds=seconds / len(sizes), log=log)
            instance.check_ledger()
        found |= {f"{name}{suffix}": value for name, value in figures(rounds, webhooks=webhooks).items()}
    return found


def sizes_of(seconds: float) -> Mapping[int, str]:
    """Return the numbers of webhooks, each with the suffix of its figures; BENCH_ROWS sets a single one."""
    if given := rows_asked_for(least=1):
        return {given: ""}
    return WEBHOOKS if seconds >= SHORT_SECONDS else WEBHOOKS_IF_SHORT


def make_webhooks(instance: Instance, receiver: ReceiverProcess, webhooks: int) -> None:
    """Create as many webhooks of each kind, which differ only in event type, URL, proof and lease."""
    instance.client.webhooks.create(receiver.url(f"/ok/{PLAIN}"), events=[PLAIN])
    copy_webhooks(instance, webhooks - 1, first=1)
    url = f"regexp_replace(sample.url, '/ok/{PLAIN}.*$', '/ok/{LEASED}/') || n"
    copy_webhooks(instance, webhooks, first=1, url=url, events=f"ARRAY['{LEASED}']::varchar[]", **PROVED)


def play_in_turns(
    instance: Instance, receiver: ReceiverProcess, webhooks: int, *, least: int, seconds: float, log: Log
) -> dict[str, list[Round]]:
    """Play rounds of both kinds for some seconds, each pair in the other order than the one before."""
    rounds: dict[str, list[Round]] = {kind: [] for kind in KINDS}
    with instance.started("worker"):
        for kind in KINDS:
            # The first event fills the worker's caches.
            play(instance, receiver, kind, webhooks)
        over_at = time.monotonic() + seconds
        while len(rounds[PLAIN]) < least or (time.monotonic() < over_at and len(rounds[PLAIN]) < MAX_REPETITIONS):
            for kind in KINDS if len(rounds[PLAIN]) % 2 else reversed(KINDS):
                rounds[kind].append(play(instance, receiver, kind, webhooks))
                log(f"  {webhooks:,} {kind}: {rounds[kind][-1].arrived:.3f} s, CPU {rounds[kind][-1].cpu:.2f} s")
    return rounds


def play(instance: Instance, receiver: ReceiverProcess, kind: str, webhooks: int) -> Round:
    """Publish one event for all webhooks of a kind, and wait until everything is settled."""
    path = f"/ok/{kind}"
    receiver.reset()
    time.sleep(PAUSE_SECONDS)
    cpu = cpu_of(instance)
    started = time.monotonic()
    instance.client.publish_batch([Event(kind, {"t": started, "ref": "refs/heads/main"})])
    patience = STARTS_WITHIN_SECONDS + webhooks / SLOWEST_PER_SECOND
    wait_for(lambda: receiver.counts(path)["count"] >= webhooks, "all to arrive", seconds=patience, pause=0.05)
    instance.wait_until_settled(seconds=patience)
    arrived = receiver.report()[path]["last_at"] - started
    return Round(arrived, cpu_of(instance) - cpu)


def cpu_of(instance: Instance) -> float:
    """Return the CPU seconds that workers and PostgreSQL have used so far."""
    spent = instance.cpu_seconds()
    return spent["worker"] + spent["postgres"]


def figures(rounds: dict[str, list[Round]], *, webhooks: int) -> dict[str, object]:
    """Return medians by kind, and the ratios of leased to plain ones: the median of those of the pairs."""
    found: dict[str, object] = {"webhooks": webhooks, "repetitions": len(rounds[PLAIN])}
    for kind in KINDS:
        found[f"all_arrived_s_{kind}"] = round(statistics.median(one.arrived for one in rounds[kind]), 3)
        found[f"cpu_us_{kind}"] = round(statistics.median(one.cpu for one in rounds[kind]) / webhooks * 1e6, 1)
    pairs = list(zip(rounds[LEASED], rounds[PLAIN], strict=True))
    found["ratio"] = round(statistics.median(leased.arrived / plain.arrived for leased, plain in pairs), 3)
    found["cpu_ratio"] = round(statistics.median(leased.cpu / plain.cpu for leased, plain in pairs), 3)
    return found

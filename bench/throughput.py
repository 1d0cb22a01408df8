"""Deliveries settled per second, compared with a bare libcurl loop and with a naive implementation."""

import time
from typing import Any

from bench import cpu, load
from bench.setup import ReceiverProcess, fresh_instance
from testbed.instance import Instance
from testbed.processes import Log, run_module, wait_for

# A benchmark that makes no progress for this long has hit a fault.
PATIENCE_SECONDS = 300
# Rough rates that determine how much to measure in the given time; a wrong guess only changes the duration.
GUESSED_PER_S = 5000
NAIVE_GUESSED_PER_S = 300
LIBCURL_REQUESTS = 20_000
KB = 1024
# For each load: suffix of its figures, bytes per event, and webhooks per event.
SHAPES = (("", KB, 1), ("_fan_out_10", KB, 10), ("_10kb", 10 * KB, 1), ("_10kb_to_10", 10 * KB, 10))


def run(seconds: float, log: Log) -> dict[str, object]:
    """events accepted beforehand, until all are recorded as settled."""
    figures: dict[str, object] = {}
    count = max(2000, int(seconds * GUESSED_PER_S))
    for suffix, size, fan_out in SHAPES:
        # HookHub and both baselines are measured shortly after one another, on the same receiver.
        part = count if not suffix else count // 2
        log(f"{part:,} deliveries of {size:,} bytes, fan-out {fan_out} …")
        found = measure(part, size=size, fan_out=fan_out, with_celery=not suffix, seconds=seconds, log=log)
        figures |= {f"{name}{suffix}": value for name, value in found.items()}
    return figures


def measure(count: int, *, size: int, fan_out: int, with_celery: bool, seconds: float, log: Log) -> dict[str, object]:
    """Measure one load; ``naive`` adds the baseline that takes longest."""
    with ReceiverProcess() as receiver, fresh_instance() as instance:
        with instance.started("web"):
            load.make_webhooks(instance, receiver.url(), fan_out=fan_out)
            load.publish(instance, load.events(count // fan_out, size=size, fan_out=fan_out), log)
        before = libcurl_rate(receiver, size=size)
        found = drain(instance, receiver, log)
        after = libcurl_rate(receiver, size=size)
        found |= {"ceiling_per_s": round((before + after) / 2)}
        found["ratio_to_ceiling"] = round(found["deliveries_per_s"] / found["ceiling_per_s"], 3)
        instance.check_ledger()
        if with_celery:
            found["naive_per_s"] = celery_rate(
                instance, receiver, int(seconds * NAIVE_GUESSED_PER_S), size=size, log=log
            )
            found["speedup_over_naive"] = round(found["deliveries_per_s"] / found["naive_per_s"], 1)
    log(f"  {found}")
    return found


def drain(instance: Instance, receiver: ReceiverProcess, log: Log, *, already: int = 0) -> dict[str, Any]:
    """Start a worker, and measure from the first request until everything is settled.

    ``already`` is the number of deliveries that existed before the events to be measured were published.
    """
    receiver.reset()
    delivered_before = instance.ask("SELECT count(*) FROM hookhub_delivery WHERE state = 'delivered'")
    with instance.started("worker"):
        wait_for(receiver.count, "the first request", seconds=PATIENCE_SECONDS, pause=0.01)
        spent, receiver_spent = instance.cpu_seconds(), receiver.cpu_seconds()
        instance.wait_until_settled(seconds=PATIENCE_SECONDS)
        ended_at = time.monotonic()
        spent_later, receiver_spent = instance.cpu_seconds(), receiver.cpu_seconds() - receiver_spent
        memory = instance.memory("worker")
    report = receiver.report()
    count = sum(row["count"] for row in report.values())
    created = instance.ask("SELECT count(*) FROM hookhub_delivery") - already
    settled = instance.ask("SELECT count(*) FROM hookhub_delivery WHERE state = 'delivered'") - delivered_before
    span = ended_at - min(row["first_at"] for row in report.values())
    log(f"  {settled:,} settled in {span:.1f} s")
    return {
        "deliveries_per_s": round(settled / span),
        **cpu.each_us(spent, spent_later, events=settled),
        "receiver_us": round(receiver_spent / settled * 1e6),
        "lost": created - sum(row["distinct"] for row in report.values()),
        "duplicated": sum(row["duplicated"] for row in report.values()),
        "deliveries": count,
        "worker_largest_process_mb": memory.largest_process_mb,
        "worker_sum_pss_mb": memory.sum_pss_mb,
    }


def libcurl_rate(receiver: ReceiverProcess, *, size: int) -> float:
    """Return how many requests per second a bare libcurl loop sends to the same receiver."""
    rate = run_module("bench.baseline_libcurl", receiver.url("/ok/ceiling"), str(LIBCURL_REQUESTS), str(size))
    receiver.reset()
    return float(rate)


def celery_rate(instance: Instance, receiver: ReceiverProcess, count: int, *, size: int, log: Log) -> float:
    """Return how many deliveries per second the naive worker makes of ``count`` new events."""
    log("The same with one task per delivery …")
    with instance.started("web"):
        load.publish(instance, load.events(count, size=size, fan_out=1), log)
    run_module("bench.baseline_celery", environment=instance.environment)
    receiver.reset()
    instance.commands["naive"] = (
        "exec celery --quiet -A bench.baseline_celery worker --concurrency 2 --without-gossip --without-mingle"
    )
    with instance.started("naive"):
        wait_for(receiver.count, "the first request", seconds=PATIENCE_SECONDS, pause=0.01)
        instance.wait_until_settled(seconds=PATIENCE_SECONDS)
        span = time.monotonic() - min(row["first_at"] for row in receiver.report().values())
    return float(round(count / span))

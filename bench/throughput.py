"""Deliveries settled per second, compared with a bare libcurl loop and with a naive implementation."""

import subprocess
import sys
import time
from typing import Any

from bench import load
from bench.stage import ROOT, Sink, Stage, Tell, stage, wait_for
from hookhub.embedded import service

# A benchmark that makes no progress for this long has hit a fault.
PATIENCE_SECONDS = 300
# Rough rates that determine how much to measure in the given time; a wrong guess only changes the duration.
GUESSED_PER_S = 5000
NAIVE_GUESSED_PER_S = 300
KB = 1024
# For each load: suffix of its figures, bytes per event, and webhooks per event.
SHAPES = (("", KB, 1), ("_fan_out_10", KB, 10), ("_10kb", 10 * KB, 1), ("_10kb_to_10", 10 * KB, 10))


def run(seconds: float, tell: Tell) -> dict[str, object]:
    """events accepted beforehand, until all are recorded as settled."""
    figures: dict[str, object] = {}
    count = max(2000, int(seconds * GUESSED_PER_S))
    for suffix, size, fan_out in SHAPES:
        # HookHub and both baselines are measured shortly after one another, on the same receiver.
        part = count if not suffix else count // 2
        tell(f"{part:,} deliveries of {size:,} bytes, fan-out {fan_out} …")
        found = measure(part, size=size, fan_out=fan_out, naive=not suffix, seconds=seconds, tell=tell)
        figures |= {f"{name}{suffix}": value for name, value in found.items()}
    return figures


def measure(count: int, *, size: int, fan_out: int, naive: bool, seconds: float, tell: Tell) -> dict[str, object]:
    """Measure one load; ``naive`` adds the baseline that takes longest."""
    with Sink() as sink, stage() as bench:
        with bench.running("web"), bench.client() as client:
            load.make_webhooks(bench, client, sink.url(), fan_out=fan_out)
            load.publish(client, load.events(count // fan_out, size=size, fan_out=fan_out), tell)
        before = ceiling(sink, size=size)
        found = drain(bench, sink, tell)
        after = ceiling(sink, size=size)
        found |= {"ceiling_per_s": round((before + after) / 2)}
        found["ratio_to_ceiling"] = round(found["deliveries_per_s"] / found["ceiling_per_s"], 3)
        service.run("check_ledger", "--settling", "0", environment=bench.environment)
        if naive:
            found["naive_per_s"] = naive_rate(bench, sink, int(seconds * NAIVE_GUESSED_PER_S), size=size, tell=tell)
            found["speedup_over_naive"] = round(found["deliveries_per_s"] / found["naive_per_s"], 1)
    tell(f"  {found}")
    return found


def drain(bench: Stage, sink: Sink, tell: Tell, *, already: int = 0) -> dict[str, Any]:
    """Start a worker, and measure from the first request until everything is settled.

    ``already`` is the number of deliveries that existed before the events to be measured were published.
    """
    sink.reset()
    delivered_before = bench.ask("SELECT count(*) FROM deliveries_delivery WHERE state = 'delivered'")
    with bench.running("worker"):
        wait_for(sink.count, "the first request", seconds=PATIENCE_SECONDS, pause=0.01)
        spent = bench.cpu_seconds()
        wait_for(lambda: not bench.unsettled(), "the last delivery to settle", seconds=PATIENCE_SECONDS, pause=0.05)
        ended_at = time.monotonic()
        spent = {name: seconds - spent.get(name, 0) for name, seconds in bench.cpu_seconds().items()}
        memory = bench.memory("worker")
    report = sink.report()
    count = sum(row["count"] for row in report.values())
    owed = bench.ask("SELECT count(*) FROM deliveries_delivery") - already
    settled = bench.ask("SELECT count(*) FROM deliveries_delivery WHERE state = 'delivered'") - delivered_before
    span = ended_at - min(row["first_at"] for row in report.values())
    tell(f"  {settled:,} settled in {span:.1f} s")
    return {
        "deliveries_per_s": round(settled / span),
        "worker_us": round(spent["worker"] / settled * 1e6),
        "postgres_us": round(spent.get("postgres", 0) / settled * 1e6),
        "lost": owed - sum(row["distinct"] for row in report.values()),
        "duplicated": sum(row["duplicated"] for row in report.values()),
        "deliveries": count,
        "worker_largest_process_mb": memory.largest_process_mb,
        "worker_sum_pss_mb": memory.sum_pss_mb,
    }


def ceiling(sink: Sink, *, size: int, count: int = 20_000) -> float:
    """Return how many requests per second a bare libcurl loop sends to the same receiver."""
    command = [sys.executable, "-m", "bench.baseline_libcurl", sink.url("/ok/ceiling"), str(count), str(size)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    sink.reset()
    return float(done.stdout)


def naive_rate(bench: Stage, sink: Sink, count: int, *, size: int, tell: Tell) -> float:
    """Return how many deliveries per second the naive worker makes of ``count`` new events."""
    tell("The same with one task per delivery …")
    with bench.running("web"), bench.client() as client:
        load.publish(client, load.events(count, size=size, fan_out=1), tell)
    subprocess.run([sys.executable, "-m", "bench.baseline_celery"], cwd=ROOT, env=bench.environment, check=True)
    sink.reset()
    command = "exec celery --quiet -A bench.baseline_celery worker --concurrency 2 --without-gossip --without-mingle"
    with bench.started("naive", command):
        wait_for(sink.count, "the first request", seconds=PATIENCE_SECONDS, pause=0.01)
        wait_for(lambda: not bench.unsettled(), "the last task", seconds=PATIENCE_SECONDS, pause=0.05)
        span = time.monotonic() - min(row["first_at"] for row in sink.report().values())
    return float(round(count / span))

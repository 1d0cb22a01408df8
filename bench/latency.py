"""Latency of an event on an idle HookHub: from before its POST to the first byte at the receiver."""

import statistics
import time

from bench.stage import Sink, Tell, stage, wait_for

WARM_UP = 20
# An event that takes longer has hit a fault.
PATIENCE_SECONDS = 10
# Between two events, so that each meets an idle system.
PAUSE_SECONDS = 0.1


def run(seconds: float, tell: Tell) -> dict[str, object]:
    """idle system, one event at a time."""
    tell("Starting a fresh HookHub …")
    with Sink() as sink, stage() as bench, bench.running("web"), bench.running("worker"), bench.client() as client:
        client.webhooks.create(sink.url(), events=["*"])
        tell(f"Publishing one event at a time for {seconds:g} s …")
        sent, stop_at = 0, float("inf")
        since = 0.0
        while time.monotonic() < stop_at:
            if sent == WARM_UP:
                since = time.monotonic()
                stop_at = since + seconds
            client.publish("push", {"t": time.monotonic(), "ref": "refs/heads/main", "number": sent})
            sent += 1
            count = sent
            wait_for(lambda: sink.count() >= count, f"event {sent}", seconds=PATIENCE_SECONDS)  # noqa: B023 - not kept
            time.sleep(PAUSE_SECONDS)
        samples = sink.latencies(since=since)
    return {**percentiles(samples), "samples": len(samples)}


def percentiles(seconds: list[float], suffix: str = "") -> dict[str, float]:
    """Return the 50th, 95th and 99th percentile in milliseconds, under names that end in ``suffix``."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"p{n}_ms{suffix}": round(cuts[n - 1] * 1000, 2) for n in (50, 95, 99)}

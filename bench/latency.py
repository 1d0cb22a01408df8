"""How long an event takes through an idle HookHub: from before its POST to the first byte at the receiver."""

import statistics
import time
from collections.abc import Callable

from bench.stage import Sink, hookhub

WARM_UP = 20
# An event that takes longer than this has met a fault and no queue.
PATIENCE_SECONDS = 10
# Between two events, so that each meets an idle system.
PAUSE_SECONDS = 0.1


def run(seconds: float, tell: Callable[[str], None]) -> dict[str, object]:
    """idle system, one event at a time."""
    tell("Starting HookHub from nothing …")
    sink = Sink()
    samples: list[float] = []
    with hookhub() as stage:
        stage.client.webhooks.create(sink.url, events=["*"])
        tell(f"Publishing one event at a time for {seconds:g} s …")
        stop_at = None
        sent = 0
        while stop_at is None or time.perf_counter() < stop_at:
            before = time.perf_counter()
            stage.client.publish("push", {"ref": "refs/heads/main", "number": sent})
            sent += 1
            if not sink.wait_for(sent, seconds=PATIENCE_SECONDS):
                raise RuntimeError(f"event {sent} did not arrive within {PATIENCE_SECONDS} s")
            if sent > WARM_UP:
                stop_at = stop_at or time.perf_counter() + seconds
                samples.append((sink.arrivals[sent - 1] - before) * 1000)
            time.sleep(PAUSE_SECONDS)
    sink.close()
    cuts = statistics.quantiles(samples, n=100, method="inclusive")
    return {
        "p50_ms": round(cuts[49], 2),
        "p95_ms": round(cuts[94], 2),
        "p99_ms": round(cuts[98], 2),
        "samples": len(samples),
    }

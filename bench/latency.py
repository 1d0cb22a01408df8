"""Latency of an event on an idle HookHub: from before its POST to the first byte at the receiver."""

import time

from bench.setup import ReceiverProcess, fresh_instance
from testbed.processes import Log, wait_for
from testbed.sampling import percentiles

WARM_UP = 20
# Between two events, so that each meets an idle system.
PAUSE_SECONDS = 0.1


def run(seconds: float, log: Log) -> dict[str, object]:
    """idle system, one event at a time."""
    log("Starting a fresh HookHub …")
    with (
        ReceiverProcess() as receiver,
        fresh_instance() as instance,
        instance.started("web"),
        instance.started("worker"),
    ):
        instance.client.webhooks.create(receiver.url(), events=["*"])
        log(f"Publishing one event at a time for {seconds:g} s …")
        sent, stop_at = 0, float("inf")
        since = 0.0
        while time.monotonic() < stop_at:
            if sent == WARM_UP:
                since = time.monotonic()
                stop_at = since + seconds
            instance.client.publish("push", {"t": time.monotonic(), "ref": "refs/heads/main", "number": sent})
            sent += 1
            count = sent
            wait_for(lambda: receiver.count() >= count, f"event {sent}")  # noqa: B023 - not kept
            time.sleep(PAUSE_SECONDS)
        samples = receiver.latencies(since=since)
    return {**percentiles(samples), "samples": len(samples)}

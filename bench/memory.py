"""Memory use of a worker that has 256 requests in flight in one process."""

import time

import psycopg

from bench import load
from bench.row_copies import copy_webhooks
from bench.stage import Memory, Sink, Tell, stage, wait_for
from hookhub.client import Event

IN_FLIGHT = 256
# Events delivered beforehand, so that the worker's caches are filled.
WARM_UP = 2000
# Bodies of this size are in memory while their requests hang.
SIZE = 10 * 1024
PATIENCE_SECONDS = 60
SETTINGS = {"HOOKHUB_SLOTS": str(IN_FLIGHT), "HOOKHUB_WORKER_PROCESSES": "1"}


def run(seconds: float, tell: Tell) -> dict[str, object]:
    """a worker that holds 256 hanging requests."""
    # The receiver is stopped first, so that the worker does not wait for the deadline of hanging requests.
    with stage(**SETTINGS) as bench, bench.running("web"), bench.running("worker"), Sink() as sink:
        with bench.client() as client:
            client.webhooks.create(sink.url("/ok"), events=["warm-up"])
            # One webhook per request, since a slow webhook would not be given more in flight.
            client.webhooks.create(sink.url("/hang"), events=["hang"])
            with psycopg.connect(bench.database_url, autocommit=True) as connection:
                copy_webhooks(connection, IN_FLIGHT - 1, key=bench.encryption_key)
            idle = bench.memory("worker")
            data = load.payload(SIZE)
            load.publish(client, (Event("warm-up", data) for _ in range(WARM_UP)), tell)
            wait_for(lambda: not bench.unsettled(), "the warm-up to settle", seconds=PATIENCE_SECONDS, pause=0.1)
            client.publish("hang", data)
        tell(f"Waiting for {IN_FLIGHT} requests in flight …")
        wait_for(lambda: hanging(sink) == IN_FLIGHT, f"{IN_FLIGHT} requests in flight", seconds=PATIENCE_SECONDS)
        held = bench.memory("worker")
        give_up_at = time.monotonic() + min(seconds, 3)
        while time.monotonic() < give_up_at and hanging(sink) == IN_FLIGHT:
            held = most_of(held, bench.memory("worker"))
            time.sleep(0.2)
    return {
        "in_flight": IN_FLIGHT,
        "largest_process_mb": held.largest_process_mb,
        "sum_pss_mb": held.sum_pss_mb,
        "largest_process_mb_idle": idle.largest_process_mb,
        "sum_pss_mb_idle": idle.sum_pss_mb,
    }


def hanging(sink: Sink) -> int:
    """Return how many requests hang right now."""
    row = sink.report().get("/hang")
    return row["in_flight"] if row else 0


def most_of(one: Memory, other: Memory) -> Memory:
    """Return the maximum of each figure."""
    return Memory(
        max(one.largest_process_mb, other.largest_process_mb),
        max(one.sum_pss_mb, other.sum_pss_mb),
    )

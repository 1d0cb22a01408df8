"""Memory use of a worker that has 256 requests in flight in one process."""

import time

import psycopg

from bench import load
from bench.row_copies import copy_webhooks
from bench.setup import ReceiverProcess, fresh_instance
from hookhub.client import Event
from testbed.processes import Log, wait_for
from testbed.sampling import Memory

IN_FLIGHT = 256
# Events delivered beforehand, so that the worker's caches are filled.
WARM_UP = 2000
# Bodies of this size are in memory while their requests hang.
SIZE = 10 * 1024
PATIENCE_SECONDS = 60
SETTINGS = {"HOOKHUB_SLOTS": str(IN_FLIGHT), "HOOKHUB_WORKER_PROCESSES": "1"}


def run(seconds: float, log: Log) -> dict[str, object]:
    """a worker that holds 256 hanging requests."""
    # The receiver is stopped first, so that the worker does not wait for the deadline of hanging requests.
    with (
        fresh_instance(**SETTINGS) as instance,
        instance.started("web"),
        instance.started("worker"),
        ReceiverProcess() as receiver,
    ):
        instance.client.webhooks.create(receiver.url("/ok"), events=["warm-up"])
        # One webhook per request, since a slow webhook would not be given more in flight.
        instance.client.webhooks.create(receiver.url("/hang"), events=["hang"])
        with psycopg.connect(instance.database_url, autocommit=True) as connection:
            copy_webhooks(connection, IN_FLIGHT - 1, key=instance.environment["HOOKHUB_ENCRYPTION_KEYS"])
        idle = instance.memory("worker")
        data = load.payload(SIZE)
        load.publish(instance, (Event("warm-up", data) for _ in range(WARM_UP)), log)
        wait_for(lambda: not instance.unsettled(), "the warm-up to settle", seconds=PATIENCE_SECONDS, pause=0.1)
        instance.client.publish("hang", data)
        log(f"Waiting for {IN_FLIGHT} requests in flight …")
        wait_for(lambda: hanging(receiver) == IN_FLIGHT, f"{IN_FLIGHT} requests in flight", seconds=PATIENCE_SECONDS)
        held = instance.memory("worker")
        give_up_at = time.monotonic() + min(seconds, 3)
        while time.monotonic() < give_up_at and hanging(receiver) == IN_FLIGHT:
            held = most_of(held, instance.memory("worker"))
            time.sleep(0.2)
    return {
        "in_flight": IN_FLIGHT,
        "largest_process_mb": held.largest_process_mb,
        "sum_pss_mb": held.sum_pss_mb,
        "largest_process_mb_idle": idle.largest_process_mb,
        "sum_pss_mb_idle": idle.sum_pss_mb,
    }


def hanging(receiver: ReceiverProcess) -> int:
    """Return how many requests hang right now."""
    row = receiver.report().get("/hang")
    return row["in_flight"] if row else 0


def most_of(one: Memory, other: Memory) -> Memory:
    """Return the maximum of each figure."""
    return Memory(
        max(one.largest_process_mb, other.largest_process_mb),
        max(one.sum_pss_mb, other.sum_pss_mb),
    )

"""Memory use of a worker that has 256 requests in flight in one process."""

import time

from bench import load
from bench.row_copies import copy_webhooks
from bench.setup import ReceiverProcess, fresh_instance
from hookhub.client import Event
from testbed.processes import Log, wait_for

IN_FLIGHT = 256
# Events delivered beforehand, so that the worker's caches are filled.
WARM_UP = 2000
# Bodies of this size are in memory while their requests hang.
SIZE = 10 * 1024
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
        copy_webhooks(instance, IN_FLIGHT - 1)
        data = load.payload(SIZE)
        # A worker that has delivered has finished loading.
        instance.client.publish("warm-up", data)
        wait_for(receiver.count, "the first request")
        idle = instance.memory("worker")
        load.publish(instance, (Event("warm-up", data) for _ in range(WARM_UP)), log)
        instance.wait_until_settled()
        instance.client.publish("hang", data)
        log(f"Waiting for {IN_FLIGHT} requests in flight …")
        wait_for(lambda: receiver.counts("/hang")["in_flight"] == IN_FLIGHT, f"{IN_FLIGHT} requests in flight")
        held = instance.memory("worker")
        give_up_at = time.monotonic() + min(seconds, 3)
        while time.monotonic() < give_up_at and receiver.counts("/hang")["in_flight"] == IN_FLIGHT:
            held = held.most(instance.memory("worker"))
            time.sleep(0.2)
    return {
        "in_flight": IN_FLIGHT,
        "largest_process_mb": held.largest_process_mb,
        "sum_pss_mb": held.sum_pss_mb,
        "largest_process_mb_idle": idle.largest_process_mb,
        "sum_pss_mb_idle": idle.sum_pss_mb,
    }

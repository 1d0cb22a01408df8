"""A HookHub that keeps metrics, next to one that keeps none.

Both run side by side and are measured by turns, because two runs on a shared machine differ by more than metrics cost.
"""

import statistics
from tempfile import TemporaryDirectory

from bench import light, load
from bench.publishing import api_of, publish, warm_up
from bench.setup import ReceiverProcess, fresh_instance
from bench.throughput import drain
from testbed.instance import Instance
from testbed.memory import folder_in_memory
from testbed.processes import Log, free_port

KINDS = OFF, ON = "off", "on"
# A pair of turns takes about this long to measure; a shorter benchmark only proves that it works.
PAIR_SECONDS = 25.0
LIGHT_PER_S, LIGHT_SECONDS = 200, 5.0
# Events of the backlog that is drained, and of the load that is published as fast as it is accepted.
BACKLOG, BATCH = 10_000, 100
SATURATED_SECONDS = 3.0


def run(seconds: float, log: Log) -> dict[str, object]:
    """latency, sustained rate and throughput with metrics and without, by turns."""
    part = min(1.0, seconds / PAIR_SECONDS)
    turns: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    with (
        ReceiverProcess() as receiver,
        TemporaryDirectory(prefix="hookhub-bench-", dir=folder_in_memory()) as folder,
        fresh_instance() as off,
        fresh_instance(HOOKHUB_METRICS_PORT=str(free_port()), HOOKHUB_METRICS_DIR=folder) as on,
        off.started("web"),
        on.started("web"),
    ):
        instances = {OFF: off, ON: on}
        for instance in instances.values():
            load.make_endpoints(instance, receiver.url())
        for pair in range(max(1, round(seconds / PAIR_SECONDS))):
            for kind in KINDS if pair % 2 else reversed(KINDS):
                turns[kind].append(turn(instances[kind], receiver, part=part))
                log(f"  metrics {kind}: {turns[kind][-1]}")
        for instance in instances.values():
            instance.check_ledger()
    return figures(turns)


def turn(instance: Instance, receiver: ReceiverProcess, *, part: float) -> dict[str, float]:
    """Measure one HookHub: under light load, under as much as it accepts, and while it drains a backlog."""
    with instance.started("worker"):
        warm_up(instance, events=round(100 * part))
        found = light.measure(instance, receiver, rate=LIGHT_PER_S, seconds=LIGHT_SECONDS * part)
        receiver.reset()
        published = publish(
            api_of(instance), rate=0, seconds=SATURATED_SECONDS * part, kinds=load.ENDPOINTS, events=BATCH
        )
        instance.wait_until_settled()
        last_at = max(row["last_at"] for row in receiver.report().values())
    already = instance.ask("SELECT count(*) FROM hookhub_delivery")
    publish(api_of(instance), rate=0, seconds=60, most=round(BACKLOG * part), kinds=load.ENDPOINTS, events=BATCH)
    drained = drain(instance, receiver, lambda _: None, already=already)
    return {
        "p50_ms": found["p50_ms"],
        "p99_ms": found["p99_ms"],
        "all_us": found["all_us"],
        "endtoend_per_s": round(published.accepted / (last_at - published.begun_at)),
        "drained_per_s": drained["deliveries_per_s"],
        "drained_worker_us": drained["worker_us"],
    }


def figures(turns: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """Return the medians of both, and of the ratios on / off of the pairs."""
    found: dict[str, object] = {"pairs": len(turns[ON])}
    for name in turns[ON][0]:
        for kind in KINDS:
            found[f"{name}_{kind}"] = round(statistics.median(one[name] for one in turns[kind]), 2)
        ratios = [on[name] / off[name] for on, off in zip(turns[ON], turns[OFF], strict=True)]
        found[f"{name}_ratio"] = round(statistics.median(ratios), 3)
    return found

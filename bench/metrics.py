"""A HookHub that keeps metrics, next to one that keeps none.

Both run side by side and are measured by turns, because two runs on a shared machine differ by more than metrics cost.
"""

import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from tempfile import TemporaryDirectory

from bench import light, load
from bench.publishing import api_of, publish, warm_up
from bench.setup import ReceiverProcess, fresh_instance
from bench.throughput import drain
from testbed.instance import Instance
from testbed.memory import folder_in_memory
from testbed.processes import Log, free_port

KINDS = OFF, ON = "off", "on"
LIGHT_PER_S = 200
# Events of the backlog that is drained, and of each request of it and of a load as high as is accepted.
BACKLOG, BATCH = 10_000, 100
# The parts of a benchmark of so many seconds: the seconds of each turn, and how many pairs of turns.
FULL_SECONDS = 120.0
LIGHT_SECONDS, LIGHT_PAIRS = 3.0, 12
SATURATED_SECONDS, SATURATED_PAIRS = 2.0, 8
DRAIN_PAIRS = 6

Turn = Callable[[Instance], Mapping[str, float]]


def run(seconds: float, log: Log) -> dict[str, object]:
    """latency, sustained rate and throughput with metrics and without, by turns."""
    part = min(1.0, seconds / FULL_SECONDS)
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

        def lightly(instance: Instance) -> Mapping[str, float]:
            found = light.measure(instance, receiver, rate=LIGHT_PER_S, seconds=LIGHT_SECONDS)
            return {name: found[name] for name in ("p50_ms", "p99_ms", "all_us")}

        def saturated(instance: Instance) -> Mapping[str, float]:
            return {"endtoend_per_s": sustained(instance, receiver, seconds=SATURATED_SECONDS)}

        def drained(instance: Instance) -> Mapping[str, float]:
            found = drain_backlog(instance, receiver, events=round(BACKLOG * part))
            return {"drained_per_s": found["deliveries_per_s"], "drained_worker_us": found["worker_us"]}

        figures: dict[str, object] = {}
        with ExitStack() as workers:
            for instance in instances.values():
                workers.enter_context(instance.started("worker"))
                warm_up(instance, events=round(500 * part))
            figures |= by_turns(lightly, instances, pairs=LIGHT_PAIRS * part, log=log)
            figures |= by_turns(saturated, instances, pairs=SATURATED_PAIRS * part, log=log)
        figures |= by_turns(drained, instances, pairs=DRAIN_PAIRS * part, log=log)
        for instance in instances.values():
            instance.check_ledger()
    return figures


def by_turns(turn: Turn, instances: Mapping[str, Instance], *, pairs: float, log: Log) -> dict[str, object]:
    """Measure both by turns, each pair in the other order than the one before, and return the figures."""
    found: dict[str, list[Mapping[str, float]]] = {kind: [] for kind in KINDS}
    for pair in range(max(1, round(pairs))):
        for kind in KINDS if pair % 2 else reversed(KINDS):
            found[kind].append(turn(instances[kind]))
            log(f"  metrics {kind}: {found[kind][-1]}")
    return figures_of(found)


def sustained(instance: Instance, receiver: ReceiverProcess, *, seconds: float) -> int:
    """Publish as fast as events are accepted, and return how many arrived per second, until the last one."""
    receiver.reset()
    published = publish(api_of(instance), rate=0, seconds=seconds, kinds=load.ENDPOINTS, events=BATCH)
    instance.wait_until_settled()
    last_at: float = max(row["last_at"] for row in receiver.report().values())
    return round(published.accepted / (last_at - published.begun_at))


def drain_backlog(instance: Instance, receiver: ReceiverProcess, *, events: int) -> Mapping[str, float]:
    """Publish a backlog while no worker runs, and return the figures of its drain."""
    already = instance.ask("SELECT count(*) FROM hookhub_delivery")
    publish(api_of(instance), rate=0, seconds=60, most=events, kinds=load.ENDPOINTS, events=BATCH)
    return drain(instance, receiver, lambda _: None, already=already)


def figures_of(found: Mapping[str, list[Mapping[str, float]]]) -> dict[str, object]:
    """Return the medians of both, and of the ratios of the pairs, with metrics to without."""
    figures: dict[str, object] = {}
    for name in found[ON][0]:
        for kind in KINDS:
            figures[f"{name}_{kind}"] = round(statistics.median(one[name] for one in found[kind]), 2)
        ratios = [on[name] / off[name] for on, off in zip(found[ON], found[OFF], strict=True)]
        figures[f"{name}_ratio"] = round(statistics.median(ratios), 3)
    return figures

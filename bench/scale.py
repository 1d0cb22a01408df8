"""The cost of a long history, of many scheduled retries, and of webhooks that match nothing, for the same work."""

from typing import Any

from bench import history, load, others, throughput
from bench.history import FINISHED, RETRIES
from bench.setup import SHORT_SECONDS, ReceiverProcess, fresh_instance, rows_asked_for
from testbed.instance import Instance
from testbed.processes import Log, run_module, wait_for

ROWS = 1_000_000
# Together with the 200 webhooks of the measured events, ten thousand.
WEBHOOKS = 9_800
DELIVERIES = 30_000
ROWS_IF_SHORT, DELIVERIES_IF_SHORT = 50_000, 2_000
# One in this many deliveries is ready when claims are measured.
READY_PART = 4
SIZE = 1024
# A retry of this webhook is due long after the benchmark has ended.
FAR_OFF_SECONDS = 6 * 3600


def run(seconds: float, log: Log) -> dict[str, object]:
    """throughput and claims with an empty log and with millions of deliveries; latency among other webhooks."""
    rows, deliveries = sizes(seconds)
    # A few retries for each webhook; a multiple of the four webhooks of a repository.
    webhooks = min(WEBHOOKS, max(4, rows // 100 // 4 * 4))
    figures: dict[str, object] = {"rows": rows, "webhooks": webhooks + 200, "deliveries": deliveries}
    rates, costs = {}, {}
    with ReceiverProcess() as receiver, fresh_instance() as instance:
        history.check_space(instance, 2 * rows)
        prepare(instance, receiver, log)
        for suffix, era in (("empty", None), ("finished", FINISHED), ("full", RETRIES)):
            if era is FINISHED:
                history.add_crowd(instance, webhooks)
            if era is not None:
                history.write_era(instance, era, deliveries=rows, webhooks=webhooks, log=log)
                history.vacuum(instance)
            found = measure(instance, receiver, deliveries, log)
            log(f"  {suffix}: {found}")
            rates[suffix] = float(found["deliveries_per_s"])
            costs[suffix] = float(found["worker_us"] + found["postgres_us"])
            figures |= {f"{name}_{suffix}": value for name, value in found.items()}
        instance.check_ledger()
    for suffix in ("finished", "full"):
        figures[f"ratio_{suffix}_to_empty"] = round(rates[suffix] / rates["empty"], 3)
        # The same ratio in CPU time per delivery, which other load on the machine distorts less.
        figures[f"cpu_ratio_{suffix}_to_empty"] = round(costs[suffix] / costs["empty"], 3)
    log("Light load among webhooks that match nothing …")
    return figures | others.run(seconds, log)


def sizes(seconds: float) -> tuple[int, int]:
    """Return how many rows of each kind to write, and how many deliveries to measure; BENCH_ROWS sets the former."""
    short = seconds < SHORT_SECONDS
    rows = rows_asked_for(least=400) or (ROWS_IF_SHORT if short else ROWS)
    return rows, DELIVERIES_IF_SHORT if short else DELIVERIES


def prepare(instance: Instance, receiver: ReceiverProcess, log: Log) -> None:
    """Create the webhooks of the measured events, and one real delivery of each kind that the history consists of."""
    log("Starting a fresh HookHub …")
    with instance.started("web"):
        far_off = {"retry_schedule": [FAR_OFF_SECONDS]}
        instance.client.webhooks.create(receiver.url("/fail"), events=["model.failed"], settings=far_off)
        load.make_webhooks(instance, receiver.url(), fan_out=1)
        instance.client.publish("model.failed", {"t": 0, "ref": "refs/heads/main"})
        load.publish(instance, load.events(1000, size=SIZE, fan_out=1), log)
        with instance.started("worker"):
            wait_for(receiver.count, "the first request")
            instance.wait_until_settled()


def measure(instance: Instance, receiver: ReceiverProcess, deliveries: int, log: Log) -> dict[str, Any]:
    """Return claim times, throughput and memory with the current content of the database."""
    already = instance.ask("SELECT count(*) FROM hookhub_delivery")
    idle = measure_claims(instance, ready=0)
    with instance.started("web"):
        load.publish(instance, load.events(deliveries, size=SIZE, fan_out=1), log)
        web = instance.memory("web")
    busy = measure_claims(instance, ready=deliveries // READY_PART)
    found = throughput.drain(instance, receiver, log, already=already)
    return {
        **{name: value for name, value in found.items() if name != "deliveries"},
        "claim_ms": busy["claim_ms"],
        "idle_claim_ms": idle["claim_ms"],
        "idle_look_ms": idle["look_ms"],
        "web_largest_process_mb": web.largest_process_mb,
        "web_sum_pss_mb": web.sum_pss_mb,
    }


def measure_claims(instance: Instance, *, ready: int) -> dict[str, float]:
    """Measure claims and polls in a separate process, with about ``ready`` deliveries ready."""
    found: dict[str, float] = run_module("bench.claim_latency", str(ready), environment=instance.environment)
    return found

"""The cost of a long history and of many scheduled retries: the same work on an empty HookHub and on a full one."""

import json
import os
import subprocess
import sys
from typing import Any

from bench import history, load, throughput
from bench.history import FINISHED, RETRIES
from bench.stage import ROOT, Sink, Stage, Tell, stage, wait_for
from hookhub.embedded import service

ROWS = 1_000_000
# Together with the 200 webhooks of the measured events, ten thousand.
WEBHOOKS = 9_800
DELIVERIES = 30_000
# A shorter benchmark only proves that it works.
SHORT_SECONDS = 5
ROWS_IF_SHORT, DELIVERIES_IF_SHORT = 50_000, 2_000
# One in this many deliveries is ready when claims are measured.
READY_PART = 4
SIZE = 1024
# A retry of this webhook is due long after the benchmark has ended.
FAR_OFF_SECONDS = 6 * 3600
PATIENCE_SECONDS = 120


def run(seconds: float, tell: Tell) -> dict[str, object]:
    """throughput and claims with an empty log, and with millions of deliveries in it."""
    rows, deliveries = sizes(seconds)
    # A few retries for each webhook; a multiple of the four webhooks of a repository.
    webhooks = min(WEBHOOKS, max(4, rows // 100 // 4 * 4))
    figures: dict[str, object] = {"rows": rows, "webhooks": webhooks + 200, "deliveries": deliveries}
    rates, costs = {}, {}
    with Sink() as sink, stage() as bench:
        history.check_space(bench, 2 * rows)
        prepare(bench, sink, tell)
        for suffix, era in (("empty", None), ("finished", FINISHED), ("full", RETRIES)):
            if era is FINISHED:
                history.add_crowd(bench, webhooks)
            if era is not None:
                history.live(bench, era, deliveries=rows, webhooks=webhooks, tell=tell)
                history.settle_down(bench)
            found = measure(bench, sink, deliveries, tell)
            tell(f"  {suffix}: {found}")
            rates[suffix] = float(found["deliveries_per_s"])
            costs[suffix] = float(found["worker_us"] + found["postgres_us"])
            figures |= {f"{name}_{suffix}": value for name, value in found.items()}
        service.run("check_ledger", "--settling", "0", environment=bench.environment)
    for suffix in ("finished", "full"):
        figures[f"ratio_{suffix}_to_empty"] = round(rates[suffix] / rates["empty"], 3)
        # The same ratio in CPU time per delivery, which other load on the machine distorts less.
        figures[f"cpu_ratio_{suffix}_to_empty"] = round(costs[suffix] / costs["empty"], 3)
    return figures


def sizes(seconds: float) -> tuple[int, int]:
    """Return how many rows of each kind to write, and how many deliveries to measure; BENCH_ROWS sets the former."""
    short = seconds < SHORT_SECONDS
    given = os.environ.get("BENCH_ROWS", "")
    if given and not (given.isdecimal() and int(given) >= 400):
        raise SystemExit(f"BENCH_ROWS must be an integer of at least 400, not {given!r}")
    rows = int(given) if given else ROWS_IF_SHORT if short else ROWS
    return rows, DELIVERIES_IF_SHORT if short else DELIVERIES


def prepare(bench: Stage, sink: Sink, tell: Tell) -> None:
    """Create the webhooks of the measured events, and one real delivery of each kind that the history consists of."""
    tell("Starting a fresh HookHub …")
    with bench.running("web"), bench.client() as client:
        far_off = {"retry_schedule": [FAR_OFF_SECONDS]}
        client.webhooks.create(sink.url("/fail"), events=["model.failed"], settings=far_off)
        load.make_webhooks(bench, client, sink.url(), fan_out=1)
        client.publish("model.failed", {"t": 0, "ref": "refs/heads/main"})
        load.publish(client, load.events(1000, size=SIZE, fan_out=1), tell)
        with bench.running("worker"):
            wait_for(sink.count, "the first request", seconds=PATIENCE_SECONDS)
            wait_for(lambda: not bench.unsettled(), "the first deliveries", seconds=PATIENCE_SECONDS)


def measure(bench: Stage, sink: Sink, deliveries: int, tell: Tell) -> dict[str, Any]:
    """Return claim times, throughput and memory with the current content of the database."""
    already = bench.ask("SELECT count(*) FROM deliveries_delivery")
    idle = look(bench, ready=0)
    with bench.running("web"), bench.client() as client:
        load.publish(client, load.events(deliveries, size=SIZE, fan_out=1), tell)
        web = bench.memory("web")
    busy = look(bench, ready=deliveries // READY_PART)
    found = throughput.drain(bench, sink, tell, already=already)
    return {
        **{name: value for name, value in found.items() if name != "deliveries"},
        "claim_ms": busy["claim_ms"],
        "idle_claim_ms": idle["claim_ms"],
        "idle_look_ms": idle["look_ms"],
        "web_largest_process_mb": web.largest_process_mb,
        "web_sum_pss_mb": web.sum_pss_mb,
    }


def look(bench: Stage, *, ready: int) -> dict[str, float]:
    """Measure claims and polls in a separate process, with about ``ready`` deliveries ready."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.claim_latency", str(ready)],
        cwd=ROOT,
        env=bench.environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found

"""The shortest runs of benchmarks, from startup to the last line."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from hookhub.procfile import ROOT
from tests.prepared import prepared

pytestmark = pytest.mark.acceptance


def figures_of(name: str, **settings: str) -> dict[str, Any]:
    """Run a benchmark with its own servers, as when run by hand, and return the figures of its only line."""
    command = [sys.executable, "-m", "bench", name, "--json", "--seconds", "1"]
    environment = {
        **os.environ,
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "BENCH_HOME": str(prepared() / "keyed"),
        **settings,
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    figures: dict[str, Any] = json.loads(line)
    assert figures["bench"] == name
    return figures


def quick() -> dict[str, str]:
    """Return settings that spare a benchmark two seconds of preparations, which one of them makes as by hand."""
    return {"BENCH_HOME": str(prepared() / "keyed"), "WEB_WORKERS": "1"}


# This benchmark creates its webhooks with SQL.
def test_an_event_for_many_reaches_each_once() -> None:
    figures = figures_of("fanout", **quick())

    assert (figures["webhooks"], figures["lost"], figures["duplicated"]) == (500, 0, 0)
    assert figures["repetitions"] >= 1


# This benchmark publishes single events from a separate process, and counts processor time.
def test_single_events_arrive_once_and_have_their_cost() -> None:
    figures = figures_of("light")

    assert (figures["events"], figures["lost"], figures["duplicated"]) == (201, 0, 0)
    assert (figures["lost_at_1000"], figures["duplicated_at_1000"]) == (0, 0)
    assert figures["all_us"] == sum(figures[f"{part}_us"] for part in ("web", "worker", "postgres", "valkey"))
    assert min(figures["web_us"], figures["worker_us"], figures["postgres_us"]) > 0


# This benchmark changes its webhooks with SQL.
def test_an_event_reaches_webhooks_with_a_lease_as_it_reaches_others() -> None:
    figures = figures_of("leased", **quick())

    assert (figures["webhooks"], figures["repetitions"] >= 1) == (500, True)
    assert min(figures["cpu_us_plain"], figures["cpu_us_leased"], figures["ratio"], figures["cpu_ratio"]) > 0

"""A real Prometheus reads a running HookHub: its totals survive the deaths of processes, and every rule evaluates."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from hookhub.client import Event
from testbed.instance import Instance
from testbed.processes import free_port, wait_for
from tests import prometheus
from tests.acceptance.instances import running_instance
from tests.integration.test_monitoring_files import RULES, expressions_of_panels, rules
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.acceptance

CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: hookhub
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
SLOTS = 40


class Prometheus:
    """A running Prometheus, and its answers."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **parameters: str) -> Any:
        answered = requests.get(f"{self._url}/api/v1/{path}", params=parameters, timeout=30)
        found = answered.json()
        assert found["status"] == "success", found
        return found["data"]

    def value(self, expression: str) -> float | None:
        """Return the value of an expression of one series, or None without any."""
        series = self.get("query", query=expression)["result"]
        return float(series[0]["value"][1]) if series else None

    def is_ready(self) -> bool:
        try:
            return requests.get(f"{self._url}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def wait_for(self, expression: str, expected: float) -> None:
        """Wait until an expression has a value."""
        wait_for(lambda: self.value(expression) == expected, f"{expression} to be {expected}")


@contextmanager
def running_prometheus(folder: Path, *, port: int) -> Iterator[Prometheus]:
    """Run a Prometheus that reads a port of this machine every second and evaluates the rules of deploy/."""
    own = free_port()
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(rules=RULES, port=port))
    command = [
        prometheus.program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
    ]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            started = Prometheus(f"http://127.0.0.1:{own}")
            wait_for(started.is_ready, "Prometheus")
            yield started
        finally:
            process.kill()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def instance(tmp_path: Path, port: int) -> Iterator[Instance]:
    with running_instance(
        HOOKHUB_METRICS_PORT=str(port),
        HOOKHUB_METRICS_DIR=str(tmp_path / "metrics"),
        HOOKHUB_SLOTS=str(SLOTS),
        HOOKHUB_WORKER_PROCESSES="2",
    ) as running:
        yield running


def test_prometheus_reads_what_hookhub_does(instance: Instance, receiver: Receiver, tmp_path: Path, port: int) -> None:
    receiver.answers["/bad"] = Answer(500)
    instance.client.webhooks.create(receiver.url("/good"), events=["*"])
    instance.client.webhooks.create(receiver.url("/bad"), events=["*"])

    with running_prometheus(tmp_path, port=port) as reader:
        instance.client.publish_batch([Event("push", number) for number in range(30)])
        refused = requests.post(f"{instance.url}/v1/events", json={"type": "push"}, timeout=30)
        assert refused.status_code == 401
        reader.wait_for("sum(hookhub_events_accepted_total)", 30)
        reader.wait_for('sum(hookhub_attempts_total{outcome="delivered"})', 30)
        reader.wait_for('sum(hookhub_attempts_total{outcome="failed"})', 30)
        reader.wait_for('hookhub_deliveries_pending{readiness="scheduled"}', 30)
        assert reader.value('sum(hookhub_publish_refused_total{code="401"})') == 1
        assert reader.value("hookhub_publish_duration_seconds_count") == 1
        reader.wait_for("hookhub_workers_alive", 1)
        reader.wait_for("hookhub_webhooks_failing", 1)
        reader.wait_for("hookhub_slots", 2 * SLOTS)

        # A child dies and is replaced; then the worker, and the web server, which may have had the port.
        instance.children_of("worker")[0].kill()
        reader.wait_for('hookhub_processes{role="worker"}', 2)
        instance.kill("worker")
        reader.wait_for('sum(hookhub_processes{role="worker"}) or vector(0)', 0)
        reader.wait_for("sum(hookhub_slots) or vector(0)", 0)
        instance.start("worker")
        instance.kill("web")
        reader.wait_for("hookhub_slots", 2 * SLOTS)
        instance.start("web")
        instance.wait_until_ready()
        reader.wait_for('hookhub_processes{role="web"}', 1)
        instance.client.publish_batch([Event("push", number) for number in range(5)])
        reader.wait_for("sum(hookhub_events_accepted_total)", 35)
        reader.wait_for('sum(hookhub_attempts_total{outcome="delivered"})', 35)

        # No total has ever fallen.
        assert reader.value("sum(resets(hookhub_events_accepted_total[10m]))") == 0
        assert reader.value("sum(resets(hookhub_attempts_total[10m]))") == 0

        # Without the database and Redis the rest is told.
        instance.servers.process("postgres").kill()
        instance.servers.process("valkey").kill()
        reader.wait_for("hookhub_database_up", 0)
        reader.wait_for("hookhub_redis_up", 0)
        reader.wait_for("up", 1)
        assert reader.value("sum(hookhub_events_accepted_total)") == 35
        wait_for(lambda: {"HookHubDatabaseDown", "HookHubRedisDown"} <= active(reader), "the alerts of the two servers")

        evaluated = reader.get("rules")["groups"][0]["rules"]
        assert {rule["name"]: rule["health"] for rule in evaluated} == {rule["alert"]: "ok" for rule in rules()}
        for expression in expressions_of_panels():
            reader.get("query", query=expression.replace("$__rate_interval", "5m").replace("$instance", ".*"))
    left = [path.name for path in (tmp_path / "metrics").iterdir() if path.suffix == ".lock"]
    # A web process, the worker and its children.
    assert len(left) <= 5, json.dumps(left)


def active(reader: Prometheus) -> set[str]:
    """Return the names of the alerts that are pending or firing."""
    return {alert["labels"]["alertname"] for alert in reader.get("alerts")["alerts"]}

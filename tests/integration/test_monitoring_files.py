"""The alert rules, the dashboard and Prometheus' configuration in deploy/, checked by promtool and by our names."""

import json
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from deliveries.backlog import Backlog
from deliveries.workers import Workers
from hookhub.procfile import ROOT
from hookhub.publishing.redis_stream.dead_letters import Counts
from hookhub.telemetry.gauges import of_database, of_stream
from hookhub.telemetry.metric_files import MetricFiles
from hookhub.telemetry.metrics import Metrics
from tests import prometheus
from tests.unit.test_metric_files import library

__all__ = ["library"]

RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "hookhub.json").read_text())
OF_HISTOGRAMS = ("_bucket", "_sum", "_count")
NAME = re.compile(r"hookhub_[a-z_]+")


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(
        [prometheus.program("promtool"), *arguments], check=False, capture_output=True, text=True, cwd=RULES.parent
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def names(tmp_path: Path) -> set[str]:
    """Return the names of all samples that a process may serve."""
    own = Metrics(MetricFiles(tmp_path), role="web")
    found = {"hookhub_build_info", "hookhub_database_up", "hookhub_redis_up"}
    empty = Backlog(*[0] * 8, *[timedelta(0)] * 3)
    found |= {metric.name for metric in of_database(empty, Workers(0, None))}
    found |= {metric.name for metric in of_stream(Counts(0, 0, 0, None))}
    for metric in own._registry.collect():
        match metric.type:
            case "counter":
                found.add(f"{metric.name}_total")
            case "histogram":
                found |= {f"{metric.name}{suffix}" for suffix in OF_HISTOGRAMS}
            case _:
                found.add(metric.name)
    return found


def expressions_of_panels() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def test_promtool_accepts_the_rules_and_the_configuration() -> None:
    assert "16 rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert "is valid" in promtool("check", "config", RULES.with_name("prometheus.yml"))


def test_each_alert_comes_when_it_should_and_none_in_a_quiet_hour() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULES.with_name("alerts_test.yml"))

    tested = yaml.safe_load(RULES.with_name("alerts_test.yml").read_text())["tests"]
    named = {one["alertname"] for test in tested for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert named == {rule["alert"] for rule in rules()}


def test_promtool_accepts_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    expressions = [
        text.replace("$__rate_interval", "5m").replace("$instance", ".*") for text in expressions_of_panels()
    ]
    recorded = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))

    assert f"{len(recorded)} rules found" in promtool("check", "rules", tmp_path / "panels.yml")


def test_rules_and_panels_name_metrics_that_there_are(names: set[str]) -> None:
    for text in [*expressions_of_panels(), *(rule["expr"] for rule in rules())]:
        assert set(NAME.findall(text)) <= names, text


def test_the_dashboard_shows_every_metric(names: set[str]) -> None:
    shown = {name for text in expressions_of_panels() for name in NAME.findall(text)}
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}

    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in names} - stems == set()


def test_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])

"""Metrics of a process whose worker loop delivers, as Prometheus reads them."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from prometheus_client import CollectorRegistry, values
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from deliveries import backlog, pipeline, telemetry
from deliveries.maintenance import tasks
from deliveries.models import Delivery
from deliveries.sending.sender import Sender
from deliveries.worker.loop import WorkerLoop
from hookhub.publishing.redis_stream.consumer import Consumer
from hookhub.publishing.redis_stream.entries import Entry
from hookhub.publishing.redis_stream.reader import Reader
from hookhub.telemetry import gauges, starting
from hookhub.telemetry.exporter import Exporter
from hookhub.telemetry.gauges import Gauges
from hookhub.telemetry.metric_files import MetricFiles
from hookhub.telemetry.metrics import BatchHistogram, Metrics
from testbed.processes import free_port
from tests.receiver import Answer
from tests.story import Forge, Stopped

pytestmark = pytest.mark.django_db(transaction=True)

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricFiles]:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    yield MetricFiles(tmp_path)
    telemetry.forget_all()


@pytest.fixture
def metrics(files: MetricFiles) -> Metrics:
    made = Metrics(files, role="worker")
    telemetry.observe(made)
    return made


def samples_of(files: MetricFiles) -> Samples:
    """Return the samples by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value for family in files.collect() for sample in family.samples
    }


def read_gauges() -> Samples:
    collector = Gauges()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in collector.collect()
        for sample in family.samples
    }
    collector.close()
    wait_for_threads()
    return found


def test_a_loop_counts_events_claims_attempts_and_settlements(
    forge: Forge, sender: Sender, now: datetime, metrics: Metrics, files: MetricFiles
) -> None:
    forge.webhook(now=now, format="standard-webhooks")
    forge.webhook(now=now, path="/bad", format="github")
    forge.webhook(now=now, path="/gone", format="slack", auto_disable=False)
    forge.receiver.answers |= {"/bad": Answer(500), "/gone": Answer(410)}
    pipeline.accept([forge.event(now=now, idempotency_key="1", fingerprint=b"1")], now=now)
    pipeline.accept([forge.event(now=now, idempotency_key="1", fingerprint=b"1")], now=now)
    pipeline.accept([forge.event(now=now)], now=now)

    WorkerLoop(sender, Stopped(now), timedelta(seconds=30)).run()

    found = samples_of(files)
    # The third is HookHub's own: a webhook was disabled.
    assert found["hookhub_events_accepted_total",] == 3
    assert found["hookhub_events_repeated_total",] == 1
    assert found["hookhub_deliveries_created_total",] == 6
    assert found["hookhub_attempts_total", "standard-webhooks", "delivered"] == 2
    assert found["hookhub_attempts_total", "github", "failed"] == 2
    assert found["hookhub_attempts_total", "slack", "gone"] == 2
    assert found["hookhub_attempt_duration_seconds_count", "delivered"] == 2
    assert found["hookhub_deliveries_finished_total", "delivered"] == 2
    assert found["hookhub_deliveries_finished_total", "gone"] == 2
    assert found["hookhub_fan_out_events_sum",] == 3
    assert found["hookhub_settle_attempts_sum",] == 6
    assert found["hookhub_settle_duration_seconds_count",] >= 1
    assert found["hookhub_requests_in_flight",] == 0
    assert found["hookhub_processes", "worker"] == 1


def test_claims_are_counted_with_their_deliveries(
    forge: Forge, sender: Sender, now: datetime, metrics: Metrics, files: MetricFiles
) -> None:
    forge.webhook(now=now)
    forge.accept(3, now=now)

    WorkerLoop(sender, Stopped(now), timedelta(seconds=30)).run()

    found = samples_of(files)
    assert found["hookhub_claim_deliveries_sum",] == 3
    assert found["hookhub_claim_duration_seconds_count",] == 1


def test_a_batch_is_observed_as_its_values_would_be(files: MetricFiles, metrics: Metrics) -> None:
    registry = CollectorRegistry()
    amounts = [0.0, 0.9, 1.0, 1.1, 2.0, 7.0, 7.0, -1.0]
    batch = BatchHistogram("batch", "text", registry=registry, buckets=(1, 2, 5))
    batch.observe_all(amounts)
    batch.observe_all([])
    one_by_one = BatchHistogram("single", "text", registry=registry, buckets=(1, 2, 5))
    for amount in amounts:
        one_by_one.observe(amount)

    found = samples_of(files)
    assert {name: found[f"batch_{name}",] for name in ("count", "sum")} == {"count": 8, "sum": 18}
    for bound in ("1.0", "2.0", "5.0", "+Inf"):
        assert found["batch_bucket", bound] == found["single_bucket", bound]


REFUSED = {
    "400": [b"event", b"{", b"organization", b"acme"],
    "404": [b"event", b'{"type":"push","data":1}', b"organization", b"nobody"],
    "409": [b"event", b'{"type":"push","data":2,"id":"one"}'],
    "413": [b"event", b" " * 200],
    "422": [b"event", b'{"type":"push"}'],
}


def test_entries_of_the_stream_are_counted_as_requests_are(
    forge: Forge, now: datetime, metrics: Metrics, files: MetricFiles, settings: Settings
) -> None:
    settings.HOOKHUB_REQUEST_LIMIT = 150
    added = round((now - timedelta(seconds=2)).timestamp() * 1000)
    good = [Entry(f"{added}-{n}", [b"event", b'{"type":"push","data":1,"id":"%s"}' % one]) for n, one in
            enumerate((b"one", b"two"))]  # fmt: skip
    bad = [Entry(f"{added}-{n}", fields) for n, fields in enumerate(REFUSED.values(), 10)]
    bad.append(Entry(f"{added}-99", REFUSED["422"]))
    deleted = Entry(f"{added}-100", [])

    Reader(mock.create_autospec(Consumer), clock=lambda: now)._publish([*good, *bad, deleted], now=now)

    found = samples_of(files)
    counts = {key[1]: value for key, value in found.items() if key[0] == "hookhub_stream_entries_refused_total"}
    assert counts == {**dict.fromkeys(REFUSED, 1.0), "422": 2.0, "500": 0.0}
    assert found["hookhub_stream_accept_duration_seconds_count",] == 2
    assert found["hookhub_stream_accept_duration_seconds_sum",] == pytest.approx(4, abs=0.01)
    assert found["hookhub_events_accepted_total",] == 2


def test_no_label_names_a_tenant_a_webhook_or_a_url(
    forge: Forge, sender: Sender, now: datetime, metrics: Metrics, files: MetricFiles
) -> None:
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)], now=now)
    WorkerLoop(sender, Stopped(now), timedelta(seconds=30)).run()
    metrics.responded("GET", "/v1/webhooks", 200, seconds=0.1)

    labels = {name for family in files.collect() for sample in family.samples for name in sample.labels}
    assert labels == {"format", "outcome", "reason", "code", "role", "le"}


def test_what_is_taken_back_from_dead_workers_is_counted(
    forge: Forge, now: datetime, metrics: Metrics, files: MetricFiles
) -> None:
    forge.webhook(now=now)
    forge.accept(2, now=now)
    pipeline.claim(2, now=now)

    tasks.rescue_expired_leases(now=now + timedelta(hours=1))

    assert samples_of(files)["hookhub_leases_rescued_total",] == 2


def test_requests_to_publish_are_counted_by_their_answer(metrics: Metrics, files: MetricFiles) -> None:
    for status in (202, 202, 422, 503):
        metrics.responded("POST", "/v1/events", status, seconds=0.004)
    metrics.responded("GET", "/v1/events", 404, seconds=0.004)

    found = samples_of(files)
    assert found["hookhub_publish_duration_seconds_count",] == 2
    assert found["hookhub_publish_duration_seconds_bucket", "0.005"] == 2
    assert {key[1]: value for key, value in found.items() if key[0] == "hookhub_publish_refused_total"} == {
        "422": 1,
        "503": 1,
    }
    assert {key[1]: value for key, value in found.items() if key[0] == "hookhub_http_responses_total"} == {
        "202": 2,
        "404": 1,
        "422": 1,
        "503": 1,
    }


def test_the_gauges_are_those_of_the_database_and_the_stream(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(2, now=now)

    found = read_gauges()

    assert found["hookhub_database_up",] == found["hookhub_redis_up",] == 1
    assert found["hookhub_deliveries_pending", "ready_first"] == 2
    assert found["hookhub_deliveries_pending", "scheduled"] == 0
    assert found["hookhub_workers_alive",] == 0
    assert found["hookhub_stream_dead_letters",] == 0
    assert found["hookhub_oldest_due_age_seconds",] >= 0


def test_without_the_database_the_rest_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(backlog, "measure", away)
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"

    found = read_gauges()

    assert found == {
        ("hookhub_build_info", next(key[1] for key in found if key[0] == "hookhub_build_info")): 1,
        ("hookhub_database_up",): 0,
        ("hookhub_redis_up",): 0,
    }


def test_servers_that_hang_are_not_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges.Look.answer, "__kwdefaults__", {"within": timedelta(milliseconds=50)})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"

        found = read_gauges()

    assert found["hookhub_redis_up",] == 0


@pytest.fixture
def exporter(files: MetricFiles, metrics: Metrics) -> Iterator[int]:
    port = free_port()
    exporter = Exporter(files, host="127.0.0.1", port=port)
    exporter.start()
    yield port
    exporter.close()
    wait_for_threads()


def wait_for_threads() -> None:
    """Wait until the gauges' threads have closed their connections to the test database."""
    for thread in threading.enumerate():
        if thread.name.startswith("gauges-"):
            thread.join(timeout=30)


def ask(port: int, path: str = "/metrics", *, method: str = "GET", accept: str = "") -> tuple[int, str, str]:
    link = HTTPConnection("127.0.0.1", port, timeout=30)
    # The thread that listens may not have begun.
    for _ in range(600):
        try:
            link.request(method, path, headers={"Accept": accept})
            break
        except ConnectionRefusedError:
            link.close()
            time.sleep(0.05)
    answered = link.getresponse()
    return answered.status, answered.headers["Content-Type"], answered.read().decode()


def test_prometheus_text_is_served_on_a_port_of_its_own(exporter: int, metrics: Metrics) -> None:
    metrics.accepted(3)

    status, content_type, text = ask(exporter)

    assert (status, content_type.partition(";")[0]) == (200, "text/plain")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["hookhub_events_accepted"].samples[0].value == 3
    assert families["hookhub_database_up"].samples[0].value == 1
    assert families["hookhub_attempt_duration_seconds"].type == "histogram"
    assert all(re.fullmatch(r"hookhub_[a-z_]+", name) for name in families)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 404), ("/metrics?name=x", "GET", 200), ("/metrics", "HEAD", 200), ("/metrics", "POST", 501)],
)
def test_nothing_else_is_served_there(exporter: int, path: str, method: str, status: int) -> None:
    assert ask(exporter, path, method=method)[0] == status


def test_open_metrics_is_served_to_those_that_ask_for_it(exporter: int) -> None:
    _, content_type, text = ask(exporter, accept="application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


def test_the_web_port_has_no_metrics(client_get: Callable[[str], int]) -> None:
    assert client_get("/metrics") == 404


@pytest.fixture
def client_get() -> Callable[[str], int]:
    from django.test import Client

    return lambda path: Client().get(path).status_code


def test_off_nothing_is_imported_or_observed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HOOKHUB_METRICS_PORT = 0
    monkeypatch.setattr(starting._own, "pid", 0)

    starting.start("web")

    assert not telemetry.is_observed()
    assert starting.response_observer() is None


def test_a_missing_package_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HOOKHUB_METRICS_PORT = 9464
    monkeypatch.setattr(starting._own, "pid", 0)
    monkeypatch.setattr(starting, "find_spec", lambda name: None)

    with pytest.raises(ImproperlyConfigured, match=r"HOOKHUB_METRICS_PORT needs .* pip install 'hookhub\[metrics\]'"):
        starting.start("web")


def test_a_folder_that_cannot_be_used_costs_the_metrics_and_nothing_else(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    settings.HOOKHUB_METRICS_PORT, settings.HOOKHUB_METRICS_DIR = free_port(), str(tmp_path / "file")
    monkeypatch.setattr(starting._own, "pid", 0)

    starting.start("web")

    assert "There are no metrics of this process" in caplog.text
    assert not telemetry.is_observed()
    starting.responded("GET", "/", 200, 0.1)


def test_gauges_can_be_registered_twice_in_a_process() -> None:
    registry = CollectorRegistry(auto_describe=False)
    for collector in (Gauges(), Gauges()):
        registry.register(collector)


def test_deliveries_are_as_without_metrics(forge: Forge, sender: Sender, now: datetime, metrics: Metrics) -> None:
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)] * 3, now=now)

    assert WorkerLoop(sender, Stopped(now), timedelta(seconds=30)).run().attempts == 3

    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}

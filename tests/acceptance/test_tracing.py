"""Traces of a running HookHub, as a collector gets them and as receivers are told of them."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from hookhub.procfile import ROOT
from hookhub.stream_client import DEFAULT_STREAM
from testbed.instance import Instance
from testbed.processes import free_port, wait_for
from tests.acceptance.instances import as_new, idle_instance
from tests.collector import Collector, Span, collecting
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.acceptance

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    with idle_instance(HOOKHUB_RETRY_SCHEDULE="0.2,0.2,0.2") as running:
        yield running


def publish(instance: Instance, **headers: str) -> None:
    answered = requests.post(
        f"{instance.url}/v1/events",
        json={"type": "push", "data": {"a": 1}},
        headers={"Authorization": f"Bearer {instance.key}", **headers},
        timeout=30,
    )
    assert answered.status_code == 202


def parents(receiver: Receiver) -> list[list[str]]:
    """Return the fields of the traceparent of each request that came."""
    return [str(request.headers.get("traceparent")).split("-") for request in list(receiver.received)]


def fail_retry_and_replay(instance: Instance, receiver: Receiver) -> None:
    """Let a delivery fail, succeed at its retry, and be sent again."""
    receiver.answers["/"] = Answer(500)
    publish(instance, traceparent=PARENT, tracestate="a=1")
    receiver.wait_for(1)
    receiver.answers["/"] = Answer(200)
    receiver.wait_for(2)
    wait_for(lambda: instance.states() == {"delivered": 1}, "the retry")
    (row,) = instance.client.deliveries.list()
    instance.client.deliveries.redeliver(row["id"])
    receiver.wait_for(3)
    wait_for(lambda: instance.states() == {"delivered": 1}, "the replay")


def on(collector: Collector | str) -> dict[str, str]:
    """Return the settings that switch traces on."""
    url = collector if isinstance(collector, str) else collector.url
    return {"HOOKHUB_TRACING": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": url}


def test_each_attempt_is_a_span_that_its_receiver_continues(shared: Instance, receiver: Receiver) -> None:
    with collecting() as collector:
        instance = as_new(shared, **on(collector))
        instance.client.webhooks.create(receiver.url("/"), events=["*"])
        fail_retry_and_replay(instance, receiver)
        wait_for(lambda: len(collector.named("attempt")) == 3, "the spans of the attempts")
        wait_for(lambda: collector.named("accept"), "the span of the request")
        wait_for(lambda: len(collector.named("settle")) >= 3, "the spans of the settlements")
        wait_for(lambda: len(collector.named("claim")) == 2, "the spans of the claims")

    (accepted,) = collector.named("accept")
    assert (accepted.trace_id, accepted.parent) == (TRACE, SPAN)
    assert accepted.attributes == {"hookhub.events": 1}
    attempts = sorted(collector.named("attempt"), key=lambda span: span.attributes["hookhub.attempt"])
    assert [(span.trace_id, span.parent) for span in attempts] == [(TRACE, accepted.span_id)] * 3
    # What each receiver was told is the span of that attempt.
    assert parents(receiver) == [["00", TRACE, span.span_id, "01"] for span in attempts]
    assert {request.headers.get("tracestate") for request in receiver.received} == {"a=1"}
    assert [span.attributes["hookhub.outcome"] for span in attempts] == ["failed", "delivered", "delivered"]
    assert [span.attributes["http.response.status_code"] for span in attempts] == [500, 200, 200]
    assert [span.is_error for span in attempts] == [True, False, False]
    assert all(span.began_at <= span.ended_at for span in collector.spans)
    # An event of HookHub's own, such as a warning because the webhook fails for long here, has no receiver.
    fanned_out = [(span.links, span.attributes["hookhub.deliveries"]) for span in collector.named("fan out")]
    assert [found for found in fanned_out if found != ([], 0)] == [([TRACE], 1)]
    # The first attempt was claimed by the fan-out.
    assert [(span.links, span.attributes) for span in collector.named("claim")] == [
        ([TRACE], {"hookhub.deliveries": 1})
    ] * 2
    assert {link for span in collector.named("settle") for link in span.links} == {TRACE}
    assert roles(collector.spans) == {"web", "worker"}
    assert {span.resource["service.name"] for span in collector.spans} == {"hookhub"}


def roles(spans: list[Span]) -> set[Any]:
    return {span.resource["hookhub.role"] for span in spans}


def test_what_a_stopping_process_has_is_sent_and_an_event_without_a_trace_begins_one(
    shared: Instance, receiver: Receiver
) -> None:
    with collecting() as collector:
        instance = as_new(shared, **on(collector))
        instance.client.webhooks.create(receiver.url("/"), events=["*"])
        publish(instance)
        receiver.wait_for(1)
        assert instance.stop("worker") == 0
        instance.stop("web")

    (accepted,) = collector.named("accept")
    (attempted,) = collector.named("attempt")
    assert accepted.parent == ""
    assert (attempted.trace_id, attempted.parent) == (accepted.trace_id, accepted.span_id)
    assert parents(receiver) == [["00", accepted.trace_id, attempted.span_id, "01"]]


def test_a_collector_that_is_away_delays_nothing(shared: Instance, receiver: Receiver) -> None:
    instance = as_new(shared, **on(f"http://127.0.0.1:{free_port()}"))
    instance.client.webhooks.create(receiver.url("/"), events=["*"])
    for _ in range(3):
        publish(instance, traceparent=PARENT)
    receiver.wait_for(3)
    # It has tried by now to send these.
    wait_for(lambda: "Spans are lost or late" in (instance.logs / "worker.log").read_text(), "the warning")
    publish(instance, traceparent=PARENT)
    receiver.wait_for(4)
    wait_for(lambda: instance.states() == {"delivered": 4}, "all deliveries")
    began_at = time.monotonic()

    assert instance.stop("worker") == 0

    # Far less than the exporter's own patience.
    assert time.monotonic() - began_at < 60
    assert (instance.logs / "worker.log").read_text().count("Spans are lost or late") <= 4


def test_without_traces_the_publishers_own_travels(shared: Instance, receiver: Receiver) -> None:
    instance = as_new(shared)
    instance.client.webhooks.create(receiver.url("/"), events=["*"])

    fail_retry_and_replay(instance, receiver)

    assert parents(receiver) == [PARENT.split("-")] * 3
    assert {request.headers.get("tracestate") for request in receiver.received} == {"a=1"}
    for name in ("web", "worker"):
        for process in instance.family_of(name):
            loaded = " ".join(found.path for found in process.memory_maps())
            assert "google/_upb" not in loaded, "protobuf is loaded although nothing needs it"


def test_the_worker_without_celery_reads_the_stream_and_keeps_metrics_and_traces(
    shared: Instance, receiver: Receiver, tmp_path: Path
) -> None:
    instance = as_new(shared, worker=False)
    instance.client.webhooks.create(receiver.url("/"), events=["*"])
    instance.commands["own"] = f"exec {sys.executable} {ROOT / 'manage.py'} hookhub_worker --processes 1"
    port, redis = free_port(), instance.servers.redis()
    metrics = {"HOOKHUB_METRICS_PORT": str(port), "HOOKHUB_METRICS_DIR": str(tmp_path / "metrics")}

    def read(*wanted: str) -> bool:
        try:
            told = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text.splitlines()
        except requests.ConnectionError:
            return False
        return set(wanted) <= set(told)

    with collecting() as collector:
        instance.start("own", **on(collector), **metrics)
        redis.xadd(DEFAULT_STREAM, {"event": '{"type":"push","data":1}', "traceparent": PARENT})
        redis.xadd(DEFAULT_STREAM, {"event": '{"type":"push"}'})
        receiver.wait_for(1)
        wait_for(
            lambda: read(
                'hookhub_attempts_total{format="standard-webhooks",outcome="delivered"} 1.0',
                "hookhub_stream_accept_duration_seconds_count 1.0",
                'hookhub_stream_entries_refused_total{code="422"} 1.0',
                'hookhub_processes{role="worker"} 1.0',
                'hookhub_processes{role="scheduler"} 1.0',
            ),
            "the metrics",
        )
        assert instance.stop("own") == 0

    (accepted,) = collector.named("accept")
    (attempted,) = collector.named("attempt")
    assert (accepted.trace_id, accepted.parent, attempted.parent) == (TRACE, SPAN, accepted.span_id)
    assert parents(receiver) == [["00", TRACE, attempted.span_id, "01"]]
    assert roles(collector.spans) == {"worker", "scheduler"}

"""Metrics of this process: the counters and histograms that the engine's reports and HTTP responses go into."""

import os
import time
from bisect import bisect_left
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from deliveries import telemetry
from deliveries.pipeline.settling import OUTCOMES
from deliveries.policy.retry import Finish, GiveUp
from hookhub.telemetry.metric_files import MetricFiles

# In seconds: an accepted request takes milliseconds, a statement a few of them, and an attempt up to the deadline.
OF_REQUESTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OF_STATEMENTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
OF_ATTEMPTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30)
OF_BATCHES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)

# With which an entry of the stream may be refused.
OF_STREAM = ("400", "404", "409", "413", "422", "500")
PUBLISHING = ("POST", "/v1/events")
# How often the number of requests in flight is written, unless there are none any more.
IN_FLIGHT_EVERY = timedelta(milliseconds=100)


class BatchHistogram(Histogram):
    """A histogram that takes many values at once: each write into the file of the process takes a lock."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe each of the amounts."""
        # The last bucket has no bound.
        bounds = self._upper_bounds[:-1]
        for bucket, count in Counts(bisect_left(bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)
        self._sum.inc(sum(amounts))


class Metrics(telemetry.Observer):
    """The metrics of one process. Their labels have few values each: no tenant, no webhook, no URL."""

    def __init__(self, files: MetricFiles, *, role: str) -> None:
        """Begin with new files, after a fork too; raise FolderUnusable."""
        files.join()
        # The library takes the folder from the environment, and the class of the values from its module.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(files.folder)
        values.ValueClass = values.MultiProcessValue(lambda: files.name)  # type: ignore[no-untyped-call]
        # Nothing is collected from it, but from the files.
        self._registry = CollectorRegistry(auto_describe=False)
        self._in_flight_known, self._in_flight_due_at = 0, 0.0
        self._of_accepting()
        self._of_pipeline()
        self._of_attempts()
        self._requests_in_flight = self._gauge("requests_in_flight", "Requests to receivers in flight")
        self.slots = self._gauge("slots", "Requests that may be in flight")
        self._gauge("processes", "Running processes", "role").labels(role).set(1)

    def _of_accepting(self) -> None:
        self._accepted = self._counter("events_accepted", "Events stored")
        self._repeated = self._counter("events_repeated", "Events that were stored before, by their idempotency key")
        self._stream_refused = self._counter(
            "stream_entries_refused", "Entries of the stream moved to its dead letters, by HTTP status", "code"
        )
        # From 0 on: Prometheus does not see the increase to a first value, and one entry is a reason for an alert.
        for code in OF_STREAM:
            self._stream_refused.labels(code)
        self._stream_seconds = self._histogram(
            "stream_accept_duration_seconds",
            "Time from adding an entry to the stream to its COMMIT",
            OF_REQUESTS,
        )
        self._publish_refused = self._counter("publish_refused", "Publishing requests refused, by HTTP status", "code")
        self._publish_seconds = self._histogram(
            "publish_duration_seconds", "Time to answer an accepted publishing request", OF_REQUESTS
        )
        self._responses = self._counter("http_responses", "HTTP responses, by status", "code")

    def _of_pipeline(self) -> None:
        self._created = self._counter("deliveries_created", "Deliveries created by fan-outs")
        self._rescued = self._counter("leases_rescued", "Deliveries taken back from dead workers")
        self._fan_out_seconds = self._histogram("fan_out_duration_seconds", "Time of one fan-out", OF_STATEMENTS)
        self._fan_out_events = self._histogram("fan_out_events", "Events of one fan-out", OF_BATCHES)
        self._claim_seconds = self._histogram(
            "claim_duration_seconds", "Time of one claim that found deliveries", OF_STATEMENTS
        )
        self._claim_deliveries = self._histogram("claim_deliveries", "Deliveries of one claim", OF_BATCHES)
        self._settle_seconds = self._histogram("settle_duration_seconds", "Time of one settlement", OF_STATEMENTS)
        self._settle_attempts = self._histogram("settle_attempts", "Attempts of one settlement", OF_BATCHES)

    def _of_attempts(self) -> None:
        self._attempts = self._counter("attempts", "Attempts, by format and outcome", "format", "outcome")
        self._finished = self._counter("deliveries_finished", "Deliveries delivered or failed, by reason", "reason")
        self._attempt_seconds = self._histogram(
            "attempt_duration_seconds", "Time of one attempt, by outcome", OF_ATTEMPTS, "outcome"
        )
        # Resolving a label takes as long as counting.
        self._seconds_by_outcome = {kind: self._attempt_seconds.labels(word) for kind, word in OUTCOMES.items()}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"hookhub_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"hookhub_{name}", text, labels, registry=self._registry, multiprocess_mode="livesum")

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> BatchHistogram:
        return BatchHistogram(f"hookhub_{name}", text, labels, registry=self._registry, buckets=buckets)

    def responded(self, method: str, path: str, status: int, *, seconds: float) -> None:
        """Count an HTTP response; ``path`` excludes the prefix of the deployment."""
        code = str(status)
        self._responses.labels(code).inc()
        if (method, path) == PUBLISHING:
            if status == 202:
                self._publish_seconds.observe(seconds)
            else:
                self._publish_refused.labels(code).inc()

    def accepted(self, events: int) -> None:
        self._accepted.inc(events)

    def repeated(self, events: int) -> None:
        if events:
            self._repeated.inc(events)

    def stream_stored(self, waits: Sequence[float]) -> None:
        self._stream_seconds.observe_all(waits)

    def stream_refused(self, statuses: Sequence[int]) -> None:
        for status, count in Counts(statuses).items():
            self._stream_refused.labels(str(status)).inc(count)

    def fanned_out(self, *, events: int, deliveries: int, claims: Sequence[Any], began_at: float) -> None:
        if events:
            self._fan_out_seconds.observe(time.perf_counter() - began_at)
            self._fan_out_events.observe(events)
            self._created.inc(deliveries)

    def claimed(self, claims: Sequence[Any], *, began_at: float) -> None:
        if claims:
            self._claim_seconds.observe(time.perf_counter() - began_at)
            self._claim_deliveries.observe(len(claims))

    def settled(self, results: Sequence[Any], *, applied: AbstractSet[Any], began_at: float) -> None:
        self._settle_seconds.observe(time.perf_counter() - began_at)
        self._settle_attempts.observe(len(results))
        attempts = Counts((result.claim.destination.format, type(result.outcome)) for result in results)
        for (slug, kind), count in attempts.items():
            self._attempts.labels(slug, OUTCOMES[kind]).inc(count)
        seconds: defaultdict[type, list[float]] = defaultdict(list)
        for result in results:
            seconds[type(result.outcome)].append(result.exchange.duration.total_seconds())
        for kind, amounts in seconds.items():
            self._seconds_by_outcome[kind].observe_all(amounts)
        self._count_finished(results, applied)

    def _count_finished(self, results: Sequence[Any], applied: AbstractSet[Any]) -> None:
        # Looking each delivery up takes as long as all else here, and nearly always they all apply.
        if len(applied) < len(results):
            results = [result for result in results if result.claim.delivery_id in applied]
        decisions = Counts(
            "delivered" if isinstance(decision, Finish) else decision.finish_reason
            for decision in (result.decision for result in results)
            if isinstance(decision, Finish | GiveUp)
        )
        for reason, count in decisions.items():
            self._finished.labels(reason).inc(count)

    def rescued(self, deliveries: int) -> None:
        self._rescued.inc(deliveries)

    def in_flight(self, requests: int) -> None:
        # A busy loop reports a few times for each millisecond, and an idle one twice a second.
        if requests == self._in_flight_known or (requests and time.monotonic() < self._in_flight_due_at):
            return
        self._in_flight_known = requests
        self._in_flight_due_at = time.monotonic() + IN_FLIGHT_EVERY.total_seconds()
        self._requests_in_flight.set(requests)

"""Gauges that are read when Prometheus asks: of the database and of Redis, each within a deadline."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from django.conf import settings
from django.db import Error, connection
from prometheus_client.core import GaugeMetricFamily, Metric
from redis.exceptions import RedisError

from deliveries import backlog, timezone, workers
from deliveries.backlog import Backlog
from deliveries.db import sql
from deliveries.version import VERSION
from deliveries.workers import Workers
from hookhub.publishing.redis_stream import dead_letters
from hookhub.publishing.redis_stream.consumer import connect
from hookhub.publishing.redis_stream.dead_letters import Counts

log = logging.getLogger("hookhub.metrics")

# Prometheus gives up after ten seconds by default, and then has none of the other metrics either.
ANSWERS_WITHIN = timedelta(seconds=3)

Found = TypeVar("Found")


class Look(Generic[Found]):
    """A look at a server that may not answer, made by a thread of its own, which keeps its connection."""

    def __init__(self, look: Callable[[], Found | None], *, name: str) -> None:
        self._look = look
        self._name = name
        self._asked: SimpleQueue[Callable[[], Found | None] | None] = SimpleQueue()
        self._answered: SimpleQueue[Found | None] = SimpleQueue()
        self._is_under_way = self._is_started = False

    def ask(self) -> None:
        """Begin to look, unless the last look has not ended."""
        if not self._is_under_way:
            self._is_under_way = True
            if not self._is_started:
                self._is_started = True
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._asked.put(self._look)

    def answer(self) -> Found | None:
        """Return what was found, or None if the server is away or does not answer in time."""
        try:
            found = self._answered.get(timeout=ANSWERS_WITHIN.total_seconds())
        except Empty:
            return None
        self._is_under_way = False
        return found

    def close(self) -> None:
        """End the thread, with its connections."""
        self._asked.put(None)

    def _work(self) -> None:
        while (look := self._asked.get()) is not None:
            try:
                found = look()
            except Exception:
                log.exception("Could not read the gauges of %s", self._name)
                found = None
            self._answered.put(found)
        connection.close()


class Gauges:
    """A collector of Prometheus' client; it never raises, and says by two gauges what could not be asked."""

    def __init__(self) -> None:
        self._database = Look(look_at_database, name="gauges-database")
        self._redis = Look(look_at_redis, name="gauges-redis")

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; those of a server that is away are left out."""
        self._database.ask()
        self._redis.ask()
        yield _gauge("build_info", "The version, as a label", [(1, VERSION)], label="version")
        found = self._database.answer()
        yield _gauge("database_up", "Whether PostgreSQL answers", [(found is not None, "")])
        if found is not None:
            yield from of_database(*found)
        counts = self._redis.answer()
        yield _gauge("redis_up", "Whether Redis answers", [(counts is not None, "")])
        if counts is not None and settings.HOOKHUB_STREAM:
            yield from of_stream(counts)

    def close(self) -> None:
        """End the threads."""
        self._database.close()
        self._redis.close()


def look_at_database() -> tuple[Backlog, Workers] | None:
    """Return the backlog and the workers, or None if the database is away."""
    try:
        now = sql.database_now()
        return backlog.measure(now=now), workers.seen(now=now)
    except Error as error:
        connection.close()
        log.warning("Could not read the gauges of the database: %s", error)
        return None


def look_at_redis() -> Counts | None:
    """Return the counts of the stream, or None if Redis is away; without a stream, only ask whether it answers."""
    try:
        client = connect(settings.REDIS_URL)
        try:
            if settings.HOOKHUB_STREAM:
                return dead_letters.count(client, settings.HOOKHUB_STREAM)
            client.ping()
            return Counts(0, 0, 0, None)
        finally:
            client.close()
    except (RedisError, OSError, ValueError) as error:
        log.warning("Could not read the gauges of Redis: %s", error)
        return None


def of_database(found: Backlog, alive: Workers) -> Iterable[Metric]:
    """Return the gauges of the database."""
    return (
        _gauge(
            "deliveries_pending",
            f"Deliveries not sent yet, by readiness; above {backlog.MAX_COUNTED} PostgreSQL's estimate",
            [(found.scheduled, "scheduled"), (found.ready_first, "ready_first"), (found.ready_retries, "ready_retry")],
            label="readiness",
        ),
        _gauge("deliveries_held", "Deliveries held because their webhook is disabled", [(found.held, "")]),
        _gauge("deliveries_sending", "Deliveries leased to workers", [(found.sending, "")]),
        _gauge("leases_expired", "Deliveries whose lease has expired", [(found.expired_leases, "")]),
        _gauge(
            "oldest_due_age_seconds", "How long the oldest due delivery has been due", [(_of(found.oldest_due_age), "")]
        ),
        _gauge("outbox_events", "Events that are not fanned out", [(found.outbox, "")]),
        _gauge("outbox_age_seconds", "Age of the oldest event that is not fanned out", [(_of(found.outbox_age), "")]),
        _gauge("webhooks_failing", "Enabled webhooks whose last attempt failed", [(found.failing_webhooks, "")]),
        _gauge(
            "retention_lag_seconds", "How long the oldest log is past its retention", [(_of(found.retention_lag), "")]
        ),
        _gauge("workers_alive", "Workers with a heartbeat", [(alive.alive, "")]),
    )


def of_stream(found: Counts) -> Iterable[Metric]:
    """Return the gauges of the stream."""
    oldest = backlog.age(found.oldest_at, now=timezone.now())
    return (
        _gauge(
            "stream_entries",
            "Entries of the stream, by state",
            [(found.waiting, "waiting"), (found.in_hand, "pending")],
            label="state",
        ),
        _gauge("stream_age_seconds", "Age of the oldest entry of the stream", [(_of(oldest), "")]),
        _gauge("stream_dead_letters", "Entries of the stream that were refused and kept", [(found.refused, "")]),
    )


def _of(span: timedelta) -> float:
    return span.total_seconds()


def _gauge(name: str, text: str, samples: Iterable[tuple[float, str]], *, label: str = "") -> Metric:
    family = GaugeMetricFamily(f"hookhub_{name}", text, labels=[label] if label else [])
    for value, labelled in samples:
        family.add_metric([labelled] if label else [], float(value))
    return family

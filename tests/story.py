"""Helpers in which tests describe organizations, webhooks, events, and steps of the pipeline."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar
from unittest import mock
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import connection, transaction

from deliveries import pipeline
from deliveries.db import sql
from deliveries.db.prepared import Bound, Session
from deliveries.event_types.topics import topics_of
from deliveries.events import NewEvent
from deliveries.maintenance.retention import Pruned, PrunePass
from deliveries.models import Attempt, Delivery, Event, Organization, Repository, Webhook
from deliveries.pipeline import attempting, claiming
from deliveries.pipeline.attempting import AttemptResult
from deliveries.pipeline.claims import Claim
from deliveries.policy.outcomes import NoResponse
from deliveries.sending.exchange import Exchange, Request, Response
from deliveries.sending.sender import Sender
from deliveries.webhooks import creating, verification_queue, verifying
from deliveries.webhooks.verification_queue import VerificationClaim
from deliveries.worker import verifier
from tests.receiver import Answer, Received, Receiver

Answered = TypeVar("Answered")


@dataclass(frozen=True)
class Stopped:
    """A clock that stands still."""

    moment: datetime

    def __call__(self) -> datetime:
        return self.moment

    def resync(self) -> None:
        """Do nothing, since the clock is always right."""


@dataclass
class ReadOnly:
    """Makes a database read-only from outside, as a failover or a full disk does."""

    link: "psycopg.Connection[Any]"

    def on(self) -> None:
        """Reject all writes, also on this thread's connection."""
        self._set("SET default_transaction_read_only = on")
        sql.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", {})

    def off(self) -> None:
        """Accept writes again on new connections."""
        self._set("RESET default_transaction_read_only")

    def _set(self, what: str) -> None:
        self.link.execute(f'ALTER DATABASE "{self.link.info.dbname}" {what}'.encode())


@dataclass
class Forge:
    """One organization with one repository, and a receiver."""

    organization: Organization
    repository: Repository
    receiver: Receiver

    @classmethod
    def make(cls, receiver: Receiver, slug: str = "acme") -> Self:
        organization = Organization.objects.create(slug=slug, name=slug.title())
        repository = Repository.objects.create(organization=organization, name="widgets")
        return cls(organization, repository, receiver)

    def webhook(
        self, *, now: datetime, path: str = "/", repository: Repository | None = None, **fields: Any
    ) -> Webhook:
        """Create a webhook for the receiver; by default it gets all events of the organization."""
        fields = {"url": self.receiver.url(path), "events": ["*"], **fields}
        return creating.create(fields, organization=self.organization, repository=repository, now=now)[0]

    def event(self, event_type: str = "push", data: Any = None, *, now: datetime, **more: Any) -> NewEvent:
        """Return an event of the repository."""
        data = {"ref": "refs/heads/main"} if data is None else data
        return NewEvent(
            organization_id=self.organization.pk,
            repository_id=self.repository.pk,
            type=event_type,
            topics=topics_of(event_type, data),
            payload=json.dumps(data).encode(),
            occurred_at=now,
            **more,
        )

    def accept(self, count: int = 1, *, now: datetime, **more: Any) -> list[UUID]:
        """Accept and fan out ``count`` events; return their ids."""
        accepted = pipeline.accept([self.event(now=now, **more) for _ in range(count)], now=now)
        pipeline.fan_out(now=now)
        return [receipt.id for receipt in accepted]


@contextmanager
def rows_for_several_tests() -> Iterator[None]:
    """Keep the rows created within the block for all tests that run in it; each test still undoes its own changes.

    Each test runs in a savepoint of this transaction. Creating the rows once saves most of the time of short tests.
    """
    around = transaction.atomic()
    # Django makes the same exception for its own tests: code that requires the outermost transaction accepts this one.
    around._from_testcase = True  # type: ignore[attr-defined]
    with around:
        yield
        transaction.set_rollback(True)


def attempt_all(claims: Sequence[Claim], sender: Sender, *, now: datetime) -> list[AttemptResult]:
    """Send claimed deliveries and wait for all responses; nothing is settled yet."""
    results = pipeline.attempt(claims, sender=sender, now=now)
    while sender.in_flight:
        for (claim, request, started_at), exchange in sender.wait(timedelta(seconds=1)):
            results.append(attempting.finish(claim, request, exchange, started_at=started_at, now=now))
    return results


def pretend(claims: Sequence[Claim], came: Response | NoResponse, *, now: datetime) -> list[AttemptResult]:
    """Return the results of attempts with this outcome, without sending anything."""
    request = Request("http://127.0.0.1/", (), b"", timedelta(seconds=1))
    exchange = Exchange(timedelta(milliseconds=1), came)
    return [attempting.finish(claim, request, exchange, started_at=now, now=now) for claim in claims]


def claim_due(limit: int, *, now: datetime) -> list[Claim]:
    """Promote due deliveries to ready and claim them, as a worker does."""
    claiming.promote_due(now=now)
    return pipeline.claim(limit, now=now)


def deliver_due(sender: Sender, *, now: datetime) -> set[UUID]:
    """Run the pipeline once from claim to review at one time; return the ids of the deliveries settled."""
    results = attempt_all(claim_due(1000, now=now), sender, now=now)
    settled = pipeline.settle(results, now=now).applied
    pipeline.review(now=now)
    return settled


def verify_due(*, now: datetime) -> list[str]:
    """Send the requests of all due verifications, wait for the responses, and conclude; return the new states."""
    sender = verifier.make_sender()
    states = []
    try:
        for claimed in verification_queue.claim(verifier.SLOTS, now=now):
            request = verification_queue.request_of(claimed, now=now)
            assert request is not None
            sender.start(request, token=claimed)
        while sender.in_flight:
            for token, exchange in sender.wait(timedelta(seconds=1)):
                assert isinstance(token, VerificationClaim)
                state = verifying.conclude(token, exchange, now=now)
                states.append("lost" if state is None else state.value)
    finally:
        sender.close()
    return sorted(states)


def prune_old(*, now: datetime, retention: timedelta | None = None) -> Pruned:
    """Run one complete retention pass; return what it deleted."""
    prune_pass = PrunePass(now - (settings.HOOKHUB_RETENTION if retention is None else retention))
    done = Pruned()
    while not prune_pass.is_over:
        done.add(prune_pass.prune_batch())
    return done


def together(*actions: Callable[[], Answered]) -> list[Answered]:
    """Run the actions concurrently, each in a thread with its own database connection; return their results."""
    start = threading.Barrier(len(actions))

    def act(action: Callable[[], Answered]) -> Answered:
        start.wait(30)
        try:
            return action()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(act, actions))


class Meanwhile:
    """Another process at the same time: it begins in the middle of a transaction, and ends by itself or after it."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action
        self._threads = ThreadPoolExecutor(1)
        self._running: Future[object] | None = None

    def begin(self, *_: object, **__: object) -> None:
        """Begin once, and go on when it has ended or waits for a lock."""
        if self._running is not None:
            return
        self._running = self._threads.submit(self._act)
        until = time.monotonic() + 60
        while not self._running.done() and not is_waited_for():
            assert time.monotonic() < until
            time.sleep(0.01)

    def before(self, function: Callable[..., Answered]) -> Callable[..., Answered]:
        """Return a function that begins this before it does what it did."""

        def begin_first(*args: Any, **options: Any) -> Answered:
            self.begin()
            return function(*args, **options)

        return begin_first

    def result(self) -> Any:
        """Return what came of it, or raise its error."""
        assert self._running is not None
        return self._running.result(60)

    def _act(self) -> object:
        try:
            return self._action()
        finally:
            connection.close()


def is_waited_for() -> bool:
    """Return whether any statement waits for a lock of another transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Collect all SQL statements executed during the block, the pipeline's own and the ORM's."""
    seen: list[str] = []
    execute, bind = psycopg.Cursor.execute, Session.bind

    def noted(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        seen.append(str(query))
        return execute(self, query, *args, **options)

    def noted_bind(self: Any, statement: str, parameters: Mapping[str, object]) -> Bound:
        seen.append(statement)
        return bind(self, statement, parameters)

    with mock.patch.object(psycopg.Cursor, "execute", noted), mock.patch.object(Session, "bind", noted_bind):
        yield seen


def forget_statistics() -> None:
    """Let the planner know of tables and indexes what it knows of new ones, whatever autovacuum has found meanwhile.

    Call it in a transaction, whose end brings the statistics back.
    """
    of_tables = "(SELECT oid FROM pg_class WHERE relname LIKE 'hookhub%')"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid IN {of_tables} OR relkind = 'i' AND oid IN"
            f" (SELECT indexrelid FROM pg_index WHERE indrelid IN {of_tables})"
        )
        cursor.execute(f"DELETE FROM pg_statistic WHERE starelid IN {of_tables}")


def outbox_key(event: Event) -> tuple[int, UUID]:
    """Return the primary key of an event's outbox entry, whether or not that row still exists."""
    return (-event.organization_id if event.repository_id is None else event.repository_id, event.id)


def echo(receiver: Receiver, *, as_json: bool = False, spoiled: bool = False) -> None:
    """Make a receiver answer verifications with their challenge, or with another text if ``spoiled``."""

    def script(connection: socket.socket, request: Received) -> None:
        challenge = challenge_in(request)
        body = b"ok"
        if challenge is not None:
            text = "another" if spoiled else challenge
            body = json.dumps({"challenge": text}).encode() if as_json else text.encode()
        connection.sendall(Answer(headers={"Connection": "close"}, body=body).encode())

    receiver.script = script


def challenge_in(request: Received) -> str | None:
    """Return the challenge that a request carries in its query or in its JSON body, or None."""
    if request.method == "GET":
        return next(iter(parse_qs(urlsplit(request.path).query).get("hub.challenge", [])), None)
    try:
        body = json.loads(request.body)
    except ValueError:
        return None
    is_challenge = isinstance(body, dict) and body.get("type") == "webhook.verification"
    return str(body["challenge"]) if is_challenge else None


def the_delivery() -> Delivery:
    return Delivery.objects.get()


def outcomes_of(delivery: Delivery) -> list[str]:
    return list(Attempt.objects.filter(delivery=delivery).order_by("number").values_list("outcome", flat=True))

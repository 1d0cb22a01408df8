"""The worker loop: slots are kept full, no webhook blocks another, and results survive failures of the database."""

import json
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from io import StringIO
from itertools import pairwise
from types import ModuleType
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.db.backends.signals import connection_created
from django.utils import timezone
from pytest_django import Settings

from deliveries import pipeline, shutdown, tasks
from deliveries.db import sql
from deliveries.management.commands import drain
from deliveries.models import Attempt, Delivery, Webhook
from deliveries.pipeline import attempt_log, claiming, fanning_out, settling
from deliveries.pipeline.attempting import AttemptResult
from deliveries.pipeline.capacity import Capacity
from deliveries.sending.sender import Sender, make_sender
from deliveries.worker import database_clock, outage, results, settler
from deliveries.worker.database_clock import DatabaseClock
from deliveries.worker.dispatcher import Dispatcher
from deliveries.worker.loop import Progress, WorkerLoop, run_until_idle
from deliveries.worker.poller import Poller
from deliveries.worker.results import ResultBuffer
from deliveries.worker.slots import OVERCOMMIT, SlotTracker
from tests.receiver import Answer, Receiver
from tests.story import Forge, ReadOnly, Stopped

pytestmark = pytest.mark.django_db(transaction=True)

LONG = timedelta(seconds=30)


@pytest.fixture
def few_slots() -> Iterator[Sender]:
    made = make_sender(slots=4 * OVERCOMMIT)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "DB_RETRY_DELAY", timedelta(milliseconds=20))


def run(sender: Sender, *, now: datetime, is_stopping: Callable[[], bool] = lambda: False) -> Progress:
    """Run the loop with a clock that stands still."""
    return WorkerLoop(sender, Stopped(now), LONG, is_stopping=is_stopping).run()


@pytest.fixture
def own_process() -> Iterator[None]:
    """Undo what a command that has a process of its own does to it: signal handlers, preferences of connections."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
    connection_created.disconnect(dispatch_uid=sql.__name__)


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_everything_that_is_due_is_fanned_out_and_delivered_with_few_slots(
    forge: Forge, few_slots: Sender, now: datetime
) -> None:
    for _ in range(3):
        forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)] * 50, now=now)

    done = run(few_slots, now=now)

    assert done == Progress(events=50, attempts=150)
    assert set(Delivery.objects.values_list("state", "attempts_made")) == {("delivered", 1)}
    assert len(forge.receiver.received) == 150
    assert forge.receiver.connections <= 8


def test_with_nothing_to_do_it_is_done(forge: Forge, few_slots: Sender, now: datetime) -> None:
    assert run(few_slots, now=now) == Progress(0, 0)


def test_what_is_not_due_yet_is_left_alone(forge: Forge, few_slots: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)

    assert run(few_slots, now=now).attempts == 1
    assert run(few_slots, now=now).attempts == 0

    assert Delivery.objects.get().state == "pending"


def test_a_loop_that_is_woken_for_events_sends_the_retries_that_are_due_too(
    forge: Forge, few_slots: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)
    run(few_slots, now=now)
    forge.receiver.answers["/"] = Answer(200)
    later = now + timedelta(hours=1)
    pipeline.accept([forge.event(now=later)], now=later)
    loop = WorkerLoop(few_slots, Stopped(later), LONG)
    # As if it had looked for ready deliveries a moment ago.
    loop.poller.timer.expects_deliveries = False

    assert loop.poller.poll(listens=False)

    assert not Delivery.objects.filter(state="pending", readiness=Delivery.Readiness.SCHEDULED).exists()
    loop.run()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


def test_no_more_is_in_flight_than_there_are_slots(forge: Forge, few_slots: Sender, now: datetime) -> None:
    for _ in range(5):
        forge.webhook(now=now)
    at_once, most, lock = 0, 0, threading.Lock()

    def count(connection: object, request: object) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.01)
        with lock:
            at_once -= 1
        connection.sendall(Answer(200).encode())  # type: ignore[attr-defined]

    forge.receiver.script = count
    forge.accept(8, now=now)

    assert run(few_slots, now=now).attempts == 40

    assert 2 <= most <= 4


def test_due_deliveries_that_cannot_be_claimed_do_not_extend_the_lingering(
    forge: Forge, few_slots: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, max_in_flight=1)
    forge.accept(2, now=now)
    pipeline.claim(1, now=now)
    Webhook.objects.filter(pk=webhook.pk).update(name="full")

    started = time.monotonic()
    done = WorkerLoop(few_slots, Stopped(now), LONG, timedelta(milliseconds=50)).run()

    assert done == Progress(0, 0)
    assert time.monotonic() - started < 20


def test_a_lone_result_is_settled_when_it_is_old_and_before_the_loop_ends(
    forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "SETTLE_WITHIN", timedelta(seconds=0.2))
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)], now=now)
    ages = []
    settle = pipeline.settle

    def settle_and_note_the_age(found: list[AttemptResult], **how: Any) -> object:
        ages.append(time.monotonic() - answered_at[0])
        return settle(found, **how)

    answered_at: list[float] = []
    add = ResultBuffer.add
    monkeypatch.setattr(
        ResultBuffer, "add", lambda self, result, *, now: (answered_at.append(now), add(self, result, now=now))
    )
    monkeypatch.setattr(pipeline, "settle", settle_and_note_the_age)

    assert run(few_slots, now=now) == Progress(1, 1)

    [age] = ages
    assert age >= 0.2
    assert Delivery.objects.get().state == "delivered"


def test_a_result_is_settled_at_once_while_another_delivery_waits_for_its_webhook(
    forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the test may take.
    monkeypatch.setattr(results, "SETTLE_WITHIN", timedelta(seconds=60))
    forge.webhook(now=now, max_in_flight=1)
    pipeline.accept([forge.event(now=now)] * 5, now=now)

    done = run(few_slots, now=now, is_stopping=lambda: len(forge.receiver.received) == 5)

    assert done == Progress(5, 5)

    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


def test_a_receiver_that_hangs_delays_no_other(forge: Forge, few_slots: Sender, now: datetime) -> None:
    are_settled = threading.Event()
    with Receiver() as hanging:
        hanging.script = lambda connection, request: are_settled.wait(60)  # type: ignore[assignment, return-value]
        slow = forge.webhook(now=now, url=hanging.url(), events=["slow"], max_in_flight=2)
        forge.webhook(now=now, events=["quick"])
        Webhook.objects.filter(pk=slow.pk).update(timeout=timedelta(seconds=60))
        pipeline.accept([forge.event("slow", now=now)] * 2 + [forge.event("quick", now=now)] * 100, now=now)
        draining = threading.Thread(target=lambda: (run(few_slots, now=now), connection.close()))
        draining.start()

        forge.receiver.wait_for(100)
        wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 100)

        # The quick deliveries are settled while the slow ones still hang.
        assert Delivery.objects.filter(state="sending", webhook=slow).count() == 2
        # Its connections are closed without a response.
        are_settled.set()
        draining.join()
    assert set(Delivery.objects.filter(webhook=slow).values_list("state", flat=True)) == {"pending"}
    assert Attempt.objects.filter(webhook=slow, outcome="no_response").count() == 2


def test_deliveries_that_become_due_are_sent_while_others_are_in_flight(
    forge: Forge, few_slots: Sender, now: datetime
) -> None:
    may_answer = threading.Event()
    forge.webhook(now=now, path="/slow", events=["slow"])
    forge.webhook(now=now, path="/quick", events=["quick"])
    forge.receiver.script = lambda connection, request: (
        request.path == "/quick" or may_answer.wait(60),
        connection.sendall(Answer(200).encode()),
    )  # type: ignore[assignment, return-value]
    pipeline.accept([forge.event("slow", now=now)], now=now)
    draining = threading.Thread(target=lambda: (run(few_slots, now=now), connection.close()))
    draining.start()
    forge.receiver.wait_for(1)

    pipeline.accept([forge.event("quick", now=now)], now=now)

    wait_until(lambda: Delivery.objects.filter(state="delivered").count() == 1)
    may_answer.set()
    draining.join()
    assert Delivery.objects.filter(state="delivered").count() == 2


def test_a_loop_stays_for_the_turns_of_a_webhook_with_a_rate(forge: Forge, few_slots: Sender) -> None:
    now = timezone.now()
    forge.webhook(now=now, rate_limit={"requests": 2, "per": 1})
    forge.accept(3, now=now)

    done = WorkerLoop(few_slots, DatabaseClock(), LONG).run()

    assert done == Progress(events=0, attempts=3)
    times = list(Attempt.objects.order_by("started_at").values_list("started_at", flat=True))
    # Each starts in its turn or, within the lag, a little later.
    assert all(later - earlier >= timedelta(seconds=0.5625 - 0.075) for earlier, later in pairwise(times))


def test_on_shutdown_what_waits_for_its_turn_is_released(forge: Forge, few_slots: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now, rate_limit={"requests": 10, "per": 1})
    forge.accept(5, now=now)

    done = run(few_slots, now=now, is_stopping=lambda: bool(forge.receiver.received))

    assert done.attempts == 1
    states = sorted(Delivery.objects.values_list("state", "attempts_made"))
    assert states == [("delivered", 1), *[("pending", 0)] * 4]
    # Three turns were taken.
    webhook.refresh_from_db()
    assert webhook.next_request_at == now + 3 * timedelta(microseconds=102_273)


def test_on_shutdown_no_request_is_started_and_those_in_flight_are_settled(
    forge: Forge, few_slots: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    stop = threading.Event()
    forge.receiver.script = lambda connection, request: (
        stop.set(),
        time.sleep(0.1),
        connection.sendall(Answer(200).encode()),
    )  # type: ignore[assignment, return-value]
    forge.accept(20, now=now)

    done = run(few_slots, now=now, is_stopping=stop.is_set)

    assert 1 <= done.attempts <= 8
    assert Counter(Delivery.objects.values_list("state", flat=True)) == {
        "delivered": done.attempts, "pending": 20 - done.attempts,
    }  # fmt: skip
    assert few_slots.in_flight == 0


def test_after_a_shutdown_request_a_new_loop_does_nothing(forge: Forge, now: datetime, settings: Settings) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    shutdown.request()
    try:
        assert run_until_idle(LONG) == Progress(0, 0)
    finally:
        shutdown.reset()
    assert run_until_idle(LONG) == Progress(0, 1)


def test_after_its_time_slice_the_loop_ends(forge: Forge, few_slots: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(20, now=now)

    done = WorkerLoop(few_slots, Stopped(now), timedelta(0)).run()

    assert done == Progress(0, 0)


def test_the_next_claim_starts_after_the_webhook_served_last(forge: Forge, few_slots: Sender, now: datetime) -> None:
    hooks = [forge.webhook(now=now, path=f"/{n}") for n in range(6)]
    forge.accept(now=now)
    loop = WorkerLoop(few_slots, Stopped(now), LONG)

    assert loop.poller.poll(listens=False)

    assert loop.poller.cursor == hooks[3].pk
    few_slots.wait(timedelta(seconds=1))


# The database goes away ----------------------------------------------------------------------------------------------


def kill_the_connection_of(pid: int) -> None:
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    with psycopg.connect(**parameters, autocommit=True) as other:
        assert other.execute("SELECT pg_terminate_backend(%s)", [pid]).fetchone() == (True,)


def test_a_database_connection_killed_between_sending_and_settling_costs_nothing(
    forge: Forge, few_slots: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.accept(30, now=now)
    pid = connection.connection.info.backend_pid
    killed = threading.Event()

    def kill_once(link: object, request: object) -> None:
        if not killed.is_set():
            killed.set()
            kill_the_connection_of(pid)
            connection.close()
        link.sendall(Answer(200).encode())  # type: ignore[attr-defined]

    forge.receiver.script = kill_once

    done = run(few_slots, now=now)

    assert killed.is_set()
    assert done.attempts == 30
    assert set(Delivery.objects.values_list("state", "attempts_made")) == {("delivered", 1)}
    assert len(forge.receiver.received) == 30
    assert Attempt.objects.count() == 30


def test_a_commit_whose_outcome_is_unknown_is_repeated_and_counts_once(
    forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(3, now=now)
    settle, calls = pipeline.settle, []

    def settle_and_lose_the_answer(results: list[object], **how: object) -> object:
        answer = settle(results, **how)  # type: ignore[arg-type]
        calls.append(len(results))
        if len(calls) == 1:
            raise OperationalError("the connection broke during COMMIT")
        return answer

    monkeypatch.setattr(pipeline, "settle", settle_and_lose_the_answer)

    run(few_slots, now=now)

    webhook.refresh_from_db()
    # The results of the first call are written again, together with those that came in since.
    assert calls[1] >= calls[0]
    assert webhook.failure_count == 3
    assert set(Delivery.objects.values_list("state", "failures")) == {("pending", 1)}
    assert Attempt.objects.count() == 3


@pytest.mark.parametrize(("step", "point"), [(fanning_out, "fanned-out"), (claiming, "claimed")])
def test_claims_whose_commit_was_not_confirmed_are_released_as_soon_as_the_database_is_back(
    step: ModuleType, point: str, forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now) for _ in range(3)], now=now)
    if step is claiming:
        pipeline.fan_out(now=now)
    leases: list[set[object]] = []

    def lose_the_connection_once(name: str) -> None:
        if name == point and not leases:
            leases.append(set(Delivery.objects.values_list("lease", flat=True)))
            kill_the_connection_of(connection.connection.info.backend_pid)
            raise OperationalError("the connection broke during COMMIT")

    monkeypatch.setattr(step, "hit", lose_the_connection_once)

    run(few_slots, now=now)

    assert None not in leases[0]
    assert set(Delivery.objects.values_list("state", "attempts_made")) == {("delivered", 1)}
    assert len(forge.receiver.received) == 3


def test_attempts_whose_commit_was_not_confirmed_are_logged_once_and_as_settled_before(
    forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logged: list[dict[str, object]] = []
    caplog.set_level(logging.INFO, "hookhub.attempts")
    monkeypatch.setattr(attempt_log.attempts, "info", lambda _, text: logged.extend(map(json.loads, text.splitlines())))
    forge.webhook(now=now, max_in_flight=1)
    forge.accept(2, now=now)
    end, points = sql.Transaction.__exit__, []

    def lose_the_first_answer(self: sql.Transaction, *raised: Any) -> None:
        end(self, *raised)
        if points.count("half-settled") == 1 and points[-1] == "half-settled":
            points.append("lost")
            raise OperationalError("the connection broke during COMMIT")

    monkeypatch.setattr(settling, "hit", points.append)
    monkeypatch.setattr(sql.Transaction, "__exit__", lose_the_first_answer)

    run(few_slots, now=now)

    assert points.count("lost") == 1
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}
    assert len({line["delivery"] for line in logged}) == 2
    assert [(line.get("was_ours"), line.get("was_settled_before")) for line in logged] == [(None, True), (True, None)]


def test_the_results_of_a_locked_webhook_are_settled_once_it_is_unlocked(
    forge: Forge, few_slots: Sender, now: datetime
) -> None:
    kept, other = forge.webhook(now=now, max_in_flight=4), forge.webhook(now=now, max_in_flight=4)
    forge.accept(3, now=now)
    is_sent, is_locked = threading.Event(), threading.Event()

    def answer_once_it_is_locked(link: object, request: object) -> None:
        is_sent.set()
        assert is_locked.wait(60)
        link.sendall(Answer(500).encode())  # type: ignore[attr-defined]

    def keep_until_the_other_is_settled() -> int:
        assert is_sent.wait(60)
        with transaction.atomic():
            assert Webhook.objects.locked().get(pk=kept.pk)
            is_locked.set()
            wait_until(lambda: Attempt.objects.filter(webhook=other).exists())
            found = Attempt.objects.filter(webhook=kept).count()
        connection.close()
        return found

    forge.receiver.script = answer_once_it_is_locked
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(keep_until_the_other_is_settled)
        done = run(few_slots, now=now)

    assert (found.result(), done.attempts) == (0, 6)
    assert set(Delivery.objects.values_list("state", "failures")) == {("pending", 1)}
    assert dict(Webhook.objects.values_list("pk", "failure_count")) == {kept.pk: 3, other.pk: 3}


def test_while_the_database_is_unavailable_results_wait_and_requests_in_flight_continue(
    forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    forge.accept(20, now=now)
    settle, tries = pipeline.settle, []

    def away_for_a_while(results: list[object], **how: object) -> object:
        tries.append(len(results))
        if len(tries) <= 5:
            raise OperationalError("away")
        return settle(results, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "settle", away_for_a_while)

    assert run(few_slots, now=now).attempts == 20

    assert tries[:6] == sorted(tries[:6])
    assert set(Delivery.objects.values_list("state", "attempts_made")) == {("delivered", 1)}


def test_on_shutdown_without_the_database_the_loop_waits_a_while_and_abandons_its_results(
    forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    tries: list[int] = []

    def away(results: list[object], **how: object) -> object:
        tries.append(len(results))
        raise OperationalError("away")

    monkeypatch.setattr(pipeline, "settle", away)
    monkeypatch.setattr(settler, "SHUTDOWN_DB_TIMEOUT", timedelta(milliseconds=100))

    done = run(few_slots, now=now, is_stopping=lambda: bool(tries))

    assert done.attempts == 0
    assert len(tries) >= 3
    # It stays leased; when the lease expires, it is repeated.
    assert Delivery.objects.get().state == "sending"


def test_while_the_database_is_read_only_results_wait_and_nothing_is_sent_twice(
    forge: Forge, few_slots: Sender, now: datetime, read_only: ReadOnly, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    forge.accept(20, now=now)
    settle, tries = pipeline.settle, []

    def read_only_for_a_while(results: list[object], **how: object) -> object:
        tries.append(len(results))
        if len(tries) == 1:
            read_only.on()
        if len(tries) == 5:
            read_only.off()
            # The connection to the read-only server was closed.
            assert sql.run("SHOW default_transaction_read_only", {}) == [("off",)]
        return settle(results, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "settle", read_only_for_a_while)

    assert run(few_slots, now=now).attempts == 20

    assert tries[:5] == sorted(tries[:5])
    assert set(Delivery.objects.values_list("state", "attempts_made")) == {("delivered", 1)}
    assert len(forge.receiver.received) == Attempt.objects.count() == 20


def test_a_database_that_turns_read_only_while_requests_are_in_flight_does_not_end_the_loop(
    forge: Forge, few_slots: Sender, now: datetime, read_only: ReadOnly, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    forge.accept(20, now=now)
    poll, unfinished = Poller._claim_and_fan_out, []
    is_read_only = threading.Event()

    def read_only_at_the_second_poll(self: Poller, capacity: Capacity) -> bool:
        unfinished.append(few_slots.in_flight)
        if len(unfinished) == 2:
            read_only.on()
            is_read_only.set()
            threading.Timer(0.2, read_only.off).start()
        return poll(self, capacity)

    monkeypatch.setattr(Poller, "_claim_and_fan_out", read_only_at_the_second_poll)

    def answer_in_time(connection: object, request: object) -> None:
        is_read_only.wait(60)
        connection.sendall(Answer(200).encode())  # type: ignore[attr-defined]

    forge.receiver.script = answer_in_time

    assert run(few_slots, now=now).attempts == 20

    assert unfinished[1] > 0
    assert set(Delivery.objects.values_list("state", "attempts_made")) == {("delivered", 1)}
    assert len(forge.receiver.received) == 20


def test_a_wake_up_while_the_database_is_read_only_writes_one_line_to_the_log(
    forge: Forge, now: datetime, read_only: ReadOnly, caplog: pytest.LogCaptureFixture
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    read_only.on()

    tasks.drain()

    assert [record.exc_info for record in caplog.records] == [None]
    assert "read-only" in caplog.text
    read_only.off()
    tasks.drain()
    assert len(forge.receiver.received) == 1


def test_a_transaction_that_the_server_ended_because_it_was_idle_is_repeated(
    forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.webhook(now=now)
    forge.accept(5, now=now)
    points: list[str] = []

    def stand_still_once(point: str) -> None:
        points.append(point)
        if points.count("half-settled") == 1 and point == "half-settled":
            sql.run("SET LOCAL idle_in_transaction_session_timeout = 10", {})
            time.sleep(0.1)

    monkeypatch.setattr(settling, "hit", stand_still_once)

    assert run(few_slots, now=now).attempts == 5

    assert set(Delivery.objects.values_list("state", "attempts_made")) == {("delivered", 1)}
    assert len(forge.receiver.received) == 5


@pytest.mark.parametrize(
    "state", ["25006", "25P03", "25P04", "26000", "40001", "40P01", "42501", "53100", "55P03", "57P01"]
)
def test_an_error_of_the_session_or_the_server_loses_no_result(
    forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    forge.webhook(now=now)
    forge.accept(3, now=now)
    points: list[str] = []

    def fail_twice(point: str) -> None:
        points.append(point)
        if point == "half-settled" and points.count(point) <= 2:
            sql.run(f"DO $$ BEGIN RAISE 'not now' USING ERRCODE = '{state}'; END $$", {})

    monkeypatch.setattr(settling, "hit", fail_twice)

    assert run(few_slots, now=now).attempts == 3

    assert points.count("half-settled") >= 3
    assert set(Delivery.objects.values_list("state", "attempts_made")) == {("delivered", 1)}


def test_claims_whose_leases_might_expire_during_a_request_are_released_unsent(
    forge: Forge, few_slots: Sender, now: datetime, settings: Settings
) -> None:
    forge.webhook(now=now)
    forge.accept(3, now=now)
    claims = pipeline.claim(10, now=now)
    late = now + settings.HOOKHUB_LEASE - settings.HOOKHUB_MAX_TIMEOUT + timedelta(microseconds=1)

    Dispatcher(few_slots, Stopped(late), slots=SlotTracker(4), results=ResultBuffer()).start(claims)

    assert few_slots.in_flight == 0
    assert set(Delivery.objects.values_list("state", "attempts_made", "due_at", "lease", "first_attempt_at")) == {
        ("pending", 0, now, None, None)
    }
    assert forge.receiver.received == []
    # A delivery that has been claimed again since then is not released.
    again = pipeline.claim(10, now=late)
    claiming.release(claims)
    assert {delivery.lease for delivery in Delivery.objects.all()} == {again[0].lease}


def test_a_review_that_fails_loses_nothing(
    forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(410)
    forge.accept(now=now)
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "review", fail_to_review)
        assert run(few_slots, now=now).attempts == 1

    assert pipeline.review(now=now) == [webhook]


def fail_to_review(*, now: datetime) -> object:
    raise OperationalError("away")


def test_a_result_that_the_database_rejects_does_not_affect_the_others_of_its_batch(
    forge: Forge, few_slots: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("/bad", "/good", "/fine"):
        forge.webhook(now=now, path=path)
    forge.accept(now=now)
    to_row = settling.to_row

    def poisoned(result: object, *, attempt_id: object) -> dict[str, object]:
        row = to_row(result, attempt_id=attempt_id)  # type: ignore[arg-type]
        return {**row, "errors": "\0"} if str(row["urls"]).endswith("/bad") else row

    monkeypatch.setattr(settling, "to_row", poisoned)

    run(few_slots, now=now)

    found = {delivery.webhook.url.rpartition("/")[2]: delivery.state for delivery in Delivery.objects.all()}
    assert found == {"good": "delivered", "fine": "delivered", "bad": "sending"}


def test_a_format_that_only_another_version_knows_does_not_end_the_loop(
    forge: Forge, few_slots: Sender, now: datetime
) -> None:
    unknown = forge.webhook(now=now)
    forge.webhook(now=now)
    Webhook.objects.filter(pk=unknown.pk).update(format="of-tomorrow")
    forge.accept(10, now=now)

    assert run(few_slots, now=now).attempts == 20

    assert set(Delivery.objects.values_list("webhook__format", "state", "failures", "lease")) == {
        ("of-tomorrow", "pending", 1, None),
        ("standard-webhooks", "delivered", 0, None),
    }
    assert len(forge.receiver.received) == 10


def test_a_loop_that_runs_for_long_notices_that_the_databases_clock_was_set(
    forge: Forge, few_slots: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, ahead = database_clock.sql.database_now, [timedelta(0)]
    monkeypatch.setattr(database_clock, "VALID_FOR", timedelta(0))
    monkeypatch.setattr(database_clock.sql, "database_now", lambda: ask() + ahead[0])
    forge.webhook(now=ask(), max_in_flight=1)
    forge.accept(2, now=ask())

    def set_it(connection: object, request: object) -> None:
        ahead[0] = timedelta(hours=1)
        connection.sendall(Answer(200).encode())  # type: ignore[attr-defined]

    forge.receiver.script = set_it

    assert WorkerLoop(few_slots, DatabaseClock(), LONG).run().attempts == 2

    first, second = Attempt.objects.order_by("started_at").values_list("started_at", flat=True)
    assert timedelta(minutes=59) < second - first < timedelta(minutes=61)


@pytest.mark.usefixtures("own_process")
def test_the_drain_command_delivers_what_is_due_and_prints_how_much(forge: Forge) -> None:
    now, out = timezone.now(), StringIO()
    forge.webhook(now=now)
    forge.webhook(now=now)
    pipeline.accept([forge.event(now=now)] * 3, now=now)

    call_command("drain", stdout=out)
    call_command("drain", "--quiet", stdout=out)

    assert out.getvalue() == "3 events fanned out, 6 attempts made.\n"
    assert list(Delivery.objects.values_list("state", "attempts_made")) == [("delivered", 1)] * 6
    assert len(forge.receiver.received) == 6


@pytest.mark.usefixtures("own_process")
def test_a_signal_asks_the_drain_command_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    requested, out = [], StringIO()
    monkeypatch.setattr(shutdown, "request", lambda: requested.append(True))
    monkeypatch.setattr(drain, "run_until_idle", lambda _: signal.raise_signal(signal.SIGTERM) or Progress(0, 0))

    call_command("drain", stdout=out)

    assert (requested, out.getvalue()) == ([True], "0 events fanned out, 0 attempts made.\n")

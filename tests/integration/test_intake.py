"""The intake: published events are stored in groups, and each request gets the response it would get alone."""

import asyncio
import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from time import sleep
from typing import Any
from unittest import mock

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from pytest_django import Settings

from deliveries.models import Event, Organization, OutboxEntry, Repository
from deliveries.pipeline import accepting
from hookhub.http import access_log, authentication
from hookhub.models import ApiKey, Scope
from hookhub.postgresql.asynchronous import AsyncConnection
from hookhub.publishing import fast_path
from hookhub.publishing.publish import GroupStore
from hookhub.row_cache import RowCache
from tests.api import Caller
from tests.front import Answered, Sent, serve

pytestmark = pytest.mark.django_db(transaction=True)

# Differ in every response.
OF_ITS_OWN = {"x-request-id", "ratelimit", "set-cookie"}


@pytest.fixture
def key(organization: Organization, repository: Repository) -> str:
    """Return a publisher's key that the process remembers, with the repository ``widgets``."""
    caller = Caller.of(organization, Scope.PUBLISH)
    assert caller.post("/v1/events", event("warm-up")).status_code == 202
    Event.objects.all().delete()
    OutboxEntry.objects.all().delete()
    return caller.key


def event(id_: str | None = None, **changed: object) -> dict[str, object]:
    return {"type": "push", "data": {"n": 1}, "repository": "acme/widgets", **({"id": id_} if id_ else {}), **changed}


def held(*requests: Sent) -> tuple[list[Answered], list[int]]:
    """Send one request and, while it is being stored, the others; return their responses, and all group sizes."""
    first = Sent(requests[0].key, event(data="first", repository=None))
    answers, sizes = serve([first], meanwhile=requests)
    assert answers[0].status == 202
    return answers[1:], sizes


def test_requests_that_come_together_share_one_commit_and_each_gets_its_own_receipt(key: str) -> None:
    with mock.patch.object(accepting, "accept_group", side_effect=accepting.accept_group) as stored:
        answers, _ = serve([Sent(key, event(f"e{n}", data=n)) for n in range(30)])

    assert {answer.status for answer in answers} == {202}
    assert stored.call_count < 5
    rows = {row["id"]: row for row in map(Answered.json, answers)}
    assert len(rows) == 30
    for n, answer in enumerate(answers):
        found = Event.objects.get(pk=answer.json()["id"])
        assert (bytes(found.payload), found.idempotency_key) == (str(n).encode(), f"e{n}")
    assert OutboxEntry.objects.count() == 30


def test_while_a_group_is_stored_the_next_one_forms(key: str) -> None:
    answers, sizes = held(*(Sent(key, event(data=n)) for n in range(20)))

    assert [answer.status for answer in answers] == [202] * 20
    assert sum(sizes) == 21
    assert len(sizes) <= 3


BODIES: dict[str, tuple[object, dict[str, str]]] = {
    "one": (event("a"), {}),
    "one without a key": (event(), {}),
    "an array": ([event("a"), event("b"), event()], {}),
    "lines": (b'{"type":"a","data":1}\n{"type":"b","data":2}\n', {"content-type": "application/x-ndjson"}),
    "a key in the header": (event(), {"Idempotency-Key": "k"}),
    "a request id": (event(), {"X-Request-Id": "mine"}),
    "no repository": ({"type": "a.b", "data": None}, {}),
    "an unknown repository": (event(repository="nowhere"), {}),
    "an unknown field": (event(wrong=1), {}),
    "no JSON": (b"{", {}),
    "no body": (b"", {}),
    "another organization": (event(organization="globex"), {}),
    "an invalid key": (event(), {"Authorization": "Bearer hh_000000000000_" + "a" * 49}),
    "no key": (event(), {"Authorization": ""}),
    "a page wanted": (event(), {"Accept": "text/html"}),
    "a form": (b"a=b", {"content-type": "application/x-www-form-urlencoded"}),
    "a cookie": (event(), {"Cookie": "a=b"}),
    "an unknown host": (event(), {"Host": "evil.example"}),
    "invalid hops": (event(), {"HookHub-Hops": "?"}),
    "a long body": ([event(data="x" * 900) for _ in range(100)], {}),
    "a lone surrogate": (b'{"type":"a","data":1,"id":"\\ud800"}', {}),
}


@pytest.mark.parametrize(("body", "headers"), BODIES.values(), ids=BODIES)
def test_the_response_is_the_one_that_django_gives(key: str, body: object, headers: dict[str, str]) -> None:
    (taken_in,), _ = serve([Sent(key, body, headers)])
    stored = Event.objects.count()
    Event.objects.all().delete()
    (alone,), _ = serve([Sent(key, body, headers)], with_intake=False)

    assert (taken_in.status, stored) == (alone.status, Event.objects.count())
    if "json" in alone.headers["content-type"]:
        assert shape(taken_in.json()) == shape(alone.json())
    # A page shows the header that says when a limit ends, whose length depends on the second.
    differing = OF_ITS_OWN if "json" in alone.headers["content-type"] else OF_ITS_OWN | {"content-length"}
    assert {name: value for name, value in taken_in.headers.items() if name not in differing} == {
        name: value for name, value in alone.headers.items() if name not in differing
    }
    assert taken_in.headers.keys() == alone.headers.keys()


def shape(body: Any) -> Any:
    """Return a body without ids and times, which differ each time."""
    if isinstance(body, dict):
        return {name: "…" if name in {"id", "accepted_at"} else shape(value) for name, value in body.items()}
    return [shape(each) for each in body] if isinstance(body, list) else body


def test_in_one_group_a_repeat_a_conflict_and_a_new_event_get_their_own_responses(key: str) -> None:
    (first,), _ = serve([Sent(key, event("known"))])

    answers, _ = held(Sent(key, event("known")), Sent(key, event("known", data=2)), Sent(key, event("new")))

    assert [answer.status for answer in answers] == [202, 409, 202]
    assert answers[0].json() == first.json()
    assert answers[0].headers["idempotent-replayed"] == "true"
    assert Event.objects.filter(idempotency_key="new").count() == 1


def test_of_two_requests_with_one_new_key_in_one_group_one_is_stored_and_the_other_repeats_it(key: str) -> None:
    answers, _ = held(Sent(key, event("twin")), Sent(key, event("twin")))

    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert Event.objects.filter(idempotency_key="twin").count() == 1


def test_a_batch_that_conflicts_is_stored_not_at_all_and_the_rest_of_its_group_is(key: str) -> None:
    serve([Sent(key, event("known"))])
    batch = [event("x"), event("known", data=2), event("y")]

    answers, _ = held(Sent(key, batch), Sent(key, [event("p"), event("q")]), Sent(key, event("z")))

    assert [answer.status for answer in answers] == [409, 202, 202]
    keys = set(Event.objects.exclude(idempotency_key=None).values_list("idempotency_key", flat=True))
    assert keys == {"known", "p", "q", "z"}
    assert OutboxEntry.objects.count() == Event.objects.count()


def test_a_batch_of_which_a_part_is_known_is_completed(key: str) -> None:
    (first,), _ = serve([Sent(key, event("known"))])

    answers, _ = held(Sent(key, [event("x"), event("known")]), Sent(key, event("z")))

    assert [answer.status for answer in answers] == [202, 202]
    assert answers[0].json()["events"][1]["id"] == first.json()["id"]
    assert Event.objects.filter(idempotency_key="x").count() == 1


def test_a_stale_name_sends_only_its_own_request_the_long_way(key: str, repository: Repository) -> None:
    with mock.patch.object(RowCache, "evict_where"):
        Repository.objects.filter(pk=repository.pk).update(name="gadgets")
        answers, _ = held(Sent(key, event("stale")), Sent(key, event("fine", repository=None)))

    assert [answer.status for answer in answers] == [422, 202]
    assert list(Event.objects.exclude(idempotency_key=None).values_list("idempotency_key", flat=True)) == ["fine"]


def test_a_revoked_key_is_refused_as_soon_as_the_process_hears_of_it(key: str) -> None:
    ApiKey.objects.get().revoke(now=ApiKey.objects.get().created_at)
    authentication.invalidate_all()

    answers, _ = serve([Sent(key, event())])

    assert [answer.status for answer in answers] == [401]


def test_a_mistyped_key_with_the_id_of_a_remembered_one_is_refused_as_mistyped(key: str) -> None:
    mistyped = key[:-1] + ("0" if key[-1] != "0" else "1")

    (answer,), sizes = serve([Sent(mistyped, event())])

    assert (answer.status, answer.json()["error"]["message"]) == (401, authentication.MISTYPED)
    assert (sizes, Event.objects.count()) == ([], 0)


def test_without_the_database_each_request_is_a_503_that_says_when_to_retry(key: str) -> None:
    away = OperationalError("the connection is lost")
    with (
        mock.patch.object(accepting, "accept_group", side_effect=away),
        mock.patch.object(AsyncConnection, "is_open", new=False),
    ):
        answers, _ = serve([Sent(key, event(f"e{n}")) for n in range(3)])

    assert [answer.status for answer in answers] == [503] * 3
    assert all("retry-after" in answer.headers for answer in answers)
    assert not Event.objects.exists()
    assert serve([Sent(key, event("e1"))])[0][0].status == 202


def test_a_connection_that_is_lost_at_the_commit_is_a_503_too(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = GroupStore()
    connection.ensure_connection()
    dsn = connection.connection.info.dsn

    def lose_the_connection(name: str) -> None:
        if name == "event-stored" and (watched := store._connection._watched) is not None:
            with psycopg.connect(dsn, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [watched.connection.info.backend_pid])

    monkeypatch.setattr(accepting, "hit", lose_the_connection)

    answers, _ = serve([Sent(key, [event("a"), event("b")])], store=store)

    assert [answer.status for answer in answers] == [503]
    assert not Event.objects.exists()


def test_an_error_that_the_server_reports_leaves_each_request_to_itself(key: str) -> None:
    store, failed = accepting.accept_group, []

    async def fail_once(batches: Any, *, connection: AsyncConnection, now: datetime) -> Any:
        if not failed:
            failed.append(True)
            await connection.run("SELECT 1 / 0", {})
        return await store(batches, connection=connection, now=now)

    with mock.patch.object(accepting, "accept_group", side_effect=fail_once):
        answers, _ = serve([Sent(key, event(f"e{n}")) for n in range(3)])

    assert [answer.status for answer in answers] == [202] * 3
    assert Event.objects.count() == 3


@pytest.mark.parametrize("waiting", [1, 5])
def test_a_key_that_another_transaction_holds_delays_only_requests_with_it(
    key: str, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing but the group's own limit ends the waiting.
    session = {**connection.settings_dict["SESSION"], "lock_timeout": "0", "statement_timeout": "0"}
    monkeypatch.setitem(connection.settings_dict, "SESSION", session)
    is_held, stored_meanwhile = threading.Event(), []

    def publish_in_a_long_transaction() -> dict[str, object]:
        with transaction.atomic():
            first = Caller(key).post("/v1/events", event("held")).json()
            is_held.set()
            for _ in range(2000):
                if Event.objects.filter(idempotency_key__contains="other").count() == 2:
                    stored_meanwhile.append(True)
                    break
                sleep(0.01)
        connection.close()
        return first

    with ThreadPoolExecutor(1) as project:
        publishing = project.submit(publish_in_a_long_transaction)
        assert is_held.wait(60)
        # More than there are threads, as where a client repeats what it has no response to.
        answers, _ = serve([Sent(key, event(name)) for name in ("other 1", *["held"] * waiting, "other 2")])

    assert stored_meanwhile == [True]
    assert [answer.status for answer in answers] == [202] * (2 + waiting)
    assert {answer.json()["id"] for answer in answers[1:-1]} == {publishing.result()["id"]}


def test_events_that_were_not_stored_do_not_count_against_limits(key: str, settings: Settings) -> None:
    # One was used by the event that warmed up.
    settings.HOOKHUB_EVENTS_PER_KEY = 6
    away = OperationalError("the connection is lost")
    with (
        mock.patch.object(accepting, "accept_group", side_effect=away),
        mock.patch.object(AsyncConnection, "is_open", new=False),
    ):
        serve([Sent(key, event(f"e{n}")) for n in range(5)])

    answers, _ = serve(*([Sent(key, event(f"e{n}"))] for n in range(7)))

    assert [answer.status for answer in answers] == [202] * 5 + [429] * 2


def test_too_many_waiting_requests_are_refused_with_retry_after(key: str) -> None:
    requests = [Sent(key, event(f"e{n}")) for n in range(10)]
    answers, _ = serve(requests[:1], meanwhile=requests[1:], max_waiting=4)

    statuses = [answer.status for answer in answers]
    assert set(statuses) == {202, 503}
    assert Event.objects.count() == statuses.count(202)
    assert {answer.headers["retry-after"] for answer in answers if answer.status == 503} == {"1"}


@pytest.mark.parametrize("prefix", ["", "/hooks"])
def test_each_request_is_in_the_access_log(
    prefix: str, key: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.HOOKHUB_ACCESS_LOG = True
    caplog.set_level("INFO", "hookhub.access")
    with contextlib.ExitStack() as stack:
        stack.callback(access_log.log.removeHandler, caplog.handler)
        access_log.log.addHandler(caplog.handler)
        (taken_in,), _ = serve([Sent(key, event(), prefix=prefix)])
        (alone,), _ = serve([Sent(key, event(), prefix=prefix)], with_intake=False)

    lines = [json.loads(record.message) for record in caplog.records if record.name == "hookhub.access"]
    assert [line["request_id"] for line in lines] == [taken_in.headers["x-request-id"], alone.headers["x-request-id"]]
    differ = {"ms", "request_id"}
    assert {n: v for n, v in lines[0].items() if n not in differ} == {
        n: v for n, v in lines[1].items() if n not in differ
    }


def test_what_is_not_remembered_goes_the_long_way_once(organization: Organization, repository: Repository) -> None:
    caller = Caller.of(organization, Scope.PUBLISH)
    authentication.invalidate_all()
    fast_path.invalidate_all()

    answers, sizes = serve([Sent(caller.key, event("a"))], [Sent(caller.key, event("b"))])

    assert [answer.status for answer in answers] == [202, 202]
    assert sizes == [1]


def terminate(pid: int) -> None:
    """End a session of the database server and wait until it has ended."""
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_a_connection_that_postgresql_closed_is_replaced(key: str) -> None:
    store = GroupStore()

    async def end_its_session() -> None:
        await store._connection.ready()
        [(pid,)] = await store._connection.run("SELECT pg_backend_pid()", {})
        await asyncio.to_thread(terminate, pid)

    answers, _ = serve([Sent(key, event("a"))], store=store, before_first=end_its_session)

    assert [answer.status for answer in answers] == [202]

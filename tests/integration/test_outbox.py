"""``hookhub.publish``: an event in the caller's transaction, and errors that name the field."""

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.test import override_settings
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from opentelemetry.trace.span import TraceState
from psycopg import IsolationLevel

import hookhub
from deliveries import telemetry, wakeup
from deliveries.db import arrays, sql
from deliveries.models import Event, Organization, Repository
from deliveries.pipeline import accepting
from deliveries.telemetry import AcceptSpan
from hookhub import IdempotencyKeyReused, InvalidEvent, UnknownOrganization, apublish, publish, publish_batch
from hookhub.http.json_values import MAX_DEPTH
from hookhub.models import CustomEventType
from hookhub.publishing.parse import MAX_EVENTS
from tests.story import together

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch, organization: Organization) -> list[wakeup.Work]:
    """Return the wake-ups that were requested."""
    found: list[wakeup.Work] = []
    monkeypatch.setattr(wakeup, "notify", found.append)
    return found


def types() -> list[str]:
    return sorted(Event.objects.values_list("type", flat=True))


def test_a_commit_publishes_and_wakes_a_worker_once_it_is_done(rung: list[wakeup.Work]) -> None:
    with transaction.atomic():
        receipt = publish("order.paid", {"n": 1}, organization="acme")
        assert rung == []

    event = Event.objects.get()
    assert rung == [wakeup.Work.EVENTS]
    assert (event.pk, event.type, bytes(event.payload)) == (receipt.id, "order.paid", b'{"n":1}')
    assert (event.accepted_at, receipt.is_repeat) == (receipt.accepted_at, False)


def test_a_rollback_publishes_nothing_and_wakes_nobody(rung: list[wakeup.Work]) -> None:
    with pytest.raises(KeyError), transaction.atomic():
        publish("order.paid", {}, organization="acme")
        raise KeyError

    assert (types(), rung) == ([], [])


def test_a_savepoint_that_is_rolled_back_publishes_nothing(rung: list[wakeup.Work]) -> None:
    with transaction.atomic():
        with pytest.raises(KeyError), transaction.atomic():
            publish("order.lost", {}, organization="acme")
            raise KeyError
        assert rung == []
        publish("order.kept", {}, organization="acme")

    assert (types(), rung) == (["order.kept"], [wakeup.Work.EVENTS])


def test_without_a_transaction_an_event_is_stored_at_once(rung: list[wakeup.Work]) -> None:
    publish("order.paid", {}, organization=Organization.objects.get())

    assert (types(), rung) == (["order.paid"], [wakeup.Work.EVENTS])


@pytest.mark.parametrize("ids", [[None], [None, None], ["a", "b"]])
def test_with_autocommit_off_the_projects_own_commit_publishes(rung: list[wakeup.Work], ids: list[str | None]) -> None:
    events = [{"type": "order.paid", "data": {}, "id": id_} for id_ in ids]
    stored = []
    transaction.set_autocommit(False)
    try:
        for end in (transaction.rollback, transaction.commit):
            publish_batch(events, organization="acme")
            end()
            stored.append(types())
            transaction.rollback()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)

    assert stored == [[], ["order.paid"] * len(ids)]


def test_an_organization_that_was_deleted_is_refused_and_the_transaction_goes_on(rung: list[wakeup.Work]) -> None:
    organization = Organization.objects.create(slug="gone", create_repositories=True)
    Organization.objects.filter(slug="gone").delete()

    with transaction.atomic():
        with pytest.raises(UnknownOrganization) as refused:
            publish("order.paid", {}, organization=organization, repository="new")
        publish("order.sent", {}, organization="acme")

    assert (list(refused.value.fields), types()) == (["organization"], ["order.sent"])


def test_asynchronous_code_publishes_too(rung: list[wakeup.Work]) -> None:
    async def act() -> UUID:
        receipt = await apublish("order.paid", {}, organization="acme")
        # In the thread that published; in a project the end of the request does it.
        await sync_to_async(lambda: connection.close())()  # noqa: PLW0108 - the connection of that thread
        return receipt.id

    assert asyncio.run(act()) == Event.objects.get().pk


def test_no_other_connection_sees_an_event_before_the_commit(rung: list[wakeup.Work]) -> None:
    seen = []

    def look() -> None:
        seen.append(Event.objects.count())
        connection.close()

    with transaction.atomic():
        publish("order.paid", {}, organization="acme")
        other = threading.Thread(target=look)
        other.start()
        other.join(60)

    assert seen == [0]


TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
OTHER = f"00-{TRACE[::-1]}-b7ad6b7169203331-01"


def traces() -> list[str | None]:
    return list(Event.objects.order_by("id").values_list("trace", flat=True))


@pytest.mark.parametrize(
    ("trace", "stored"),
    [
        (None, None),
        ({"traceparent": PARENT, "tracestate": "a=1"}, f"{PARENT} a=1"),
        ({"traceparent": PARENT}, PARENT),
        (PARENT, PARENT),
        # Never a reason to refuse an event.
        ("nonsense", None),
        ({}, None),
        ({"traceparent": "00-1"}, None),
    ],
)
def test_an_event_belongs_to_the_trace_that_is_given(rung: list[wakeup.Work], trace: Any, stored: str | None) -> None:
    publish("order.paid", {}, organization="acme", trace=trace)

    assert traces() == [stored]


def test_an_event_of_a_batch_may_have_a_trace_of_its_own(rung: list[wakeup.Work]) -> None:
    events = [
        {"type": "a", "data": 1}, {"type": "b", "data": 2, "trace": {"traceparent": OTHER}},
        {"type": "c", "data": 3, "trace": None},
    ]  # fmt: skip

    publish_batch(events, organization="acme", trace=PARENT)

    assert traces() == [PARENT, OTHER, PARENT]


def test_by_default_an_event_belongs_to_the_span_that_is_current(rung: list[wakeup.Work]) -> None:
    state = TraceState([("vendor", "1")])
    span = SpanContext(
        int(TRACE, 16), 0xB7AD6B7169203331, is_remote=False, trace_flags=TraceFlags(1), trace_state=state
    )

    with use_span(NonRecordingSpan(span)):
        publish("order.paid", {}, organization="acme")
        publish("order.paid", {}, organization="acme", trace=OTHER)
        publish_batch([{"type": "order.paid", "data": {}}], organization="acme")
        asyncio.run(_published_asynchronously())
    publish("order.paid", {}, organization="acme")

    assert traces() == [f"{PARENT} vendor=1", OTHER, f"{PARENT} vendor=1", f"{PARENT} vendor=1", None]


async def _published_asynchronously() -> None:
    await apublish("order.paid", {}, organization="acme")
    await sync_to_async(lambda: connection.close())()  # noqa: PLW0108 - the connection of that thread


def test_a_span_of_hookhubs_own_is_made_once_the_event_is_committed(
    rung: list[wakeup.Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[tuple[str | None, int]] = []

    class Tracing:
        def begin_accept(self, parent: str | None) -> AcceptSpan:
            return AcceptSpan(parent, OTHER)

        def end_accept(self, span: AcceptSpan, *, events: int) -> None:
            ended.append((span.parent, events))

    monkeypatch.setattr(telemetry, "tracer", Tracing())
    with transaction.atomic():
        publish("order.paid", {}, organization="acme", trace=PARENT)
        assert ended == []
    with transaction.atomic():
        publish("order.paid", {}, organization="acme", trace=PARENT)
        transaction.set_rollback(True)

    assert (ended, traces()) == ([(PARENT, 1)], [OTHER])


@pytest.mark.parametrize("level", [None, *IsolationLevel])
def test_the_transaction_has_the_isolation_level_of_the_project(
    rung: list[wakeup.Work], level: IsolationLevel | None
) -> None:
    organization = Organization.objects.get()
    before = connection.connection.isolation_level
    connection.connection.isolation_level = level
    try:
        with transaction.atomic():
            sql.run(accepting.FIND_STORED, {"ids": arrays.uuids([])})
            publish("order.paid", {}, organization=organization)
            found = sql.run("SHOW transaction_isolation", {})[0][0]
    finally:
        connection.connection.isolation_level = before

    assert found == (level or IsolationLevel.READ_COMMITTED).name.replace("_", " ").lower()
    assert types() == ["order.paid"]


@pytest.mark.parametrize(
    ("data", "written"),
    [
        (None, b"null"),
        ({"ä": "\ud800"}, b'{"\xc3\xa4":"\\ud800"}'),
        ([datetime(2026, 3, 4, 12, tzinfo=UTC), date(2026, 3, 4)], b'["2026-03-04T12:00:00Z","2026-03-04"]'),
        ([Decimal("1.10"), UUID(int=1), 2.0], b'["1.10","00000000-0000-0000-0000-000000000001",2]'),
        ((1, "<"), b'[1,"<"]'),
    ],
)  # fmt: skip
def test_data_is_written_as_djangos_encoder_does(rung: list[wakeup.Work], data: object, written: bytes) -> None:
    publish("order.paid", data, organization="acme")

    assert bytes(Event.objects.get().payload) == written


REFUSED: list[tuple[str, dict[str, Any], type[InvalidEvent], list[str]]] = [
    ("a type that is none", {"type": "order paid"}, InvalidEvent, ["type"]),
    ("a reserved type", {"type": "webhook.disabled"}, InvalidEvent, ["type"]),
    ("what JSON cannot say", {"data": {1, 2}}, InvalidEvent, ["data"]),
    ("no number", {"data": float("nan")}, InvalidEvent, ["data"]),
    ("too much", {"data": "x" * 2_000_000}, InvalidEvent, ["data"]),
    ("too deep", {"data": json.loads("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2))}, InvalidEvent, ["data"]),
    ("an unknown organization", {"organization": "nobody"}, UnknownOrganization, ["organization"]),
    ("no name of an organization", {"organization": "\0"}, UnknownOrganization, ["organization"]),
    ("half a character", {"organization": "\ud800"}, UnknownOrganization, ["organization"]),
    ("a row that is not stored", {"organization": Organization(slug="new")}, UnknownOrganization, ["organization"]),
    ("a time that JSON cannot say", {"timestamp": {1}}, InvalidEvent, ["timestamp"]),
    ("no organization", {"organization": None}, UnknownOrganization, ["organization"]),
    ("an unknown repository", {"repository": "nothing"}, InvalidEvent, ["repository"]),
    ("an empty id", {"id": ""}, InvalidEvent, ["id"]),
    ("no time", {"timestamp": "yesterday"}, InvalidEvent, ["timestamp"]),
    ("two keys", {"id": "a", "idempotency_key": "b"}, InvalidEvent, ["id"]),
    ("a key that is too long", {"idempotency_key": "b" * 300}, InvalidEvent, ["Idempotency-Key"]),
]


@pytest.mark.parametrize(("change", "error", "fields"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_invalid_is_refused_and_the_transaction_goes_on(
    rung: list[wakeup.Work], change: dict[str, Any], error: type[InvalidEvent], fields: list[str]
) -> None:
    with transaction.atomic():
        with pytest.raises(error) as refused:
            publish(**{"type": "order.paid", "data": {}, "organization": "acme"} | change)
        publish("order.next", {}, organization="acme")

    assert list(refused.value.fields) == fields
    assert all(name in str(refused.value) for name in fields)
    assert types() == ["order.next"]


def test_a_batch_is_stored_all_or_none(rung: list[wakeup.Work]) -> None:
    with pytest.raises(InvalidEvent) as refused:
        publish_batch([{"type": "a", "data": 1}, {"type": "b"}], organization="acme")
    with pytest.raises(InvalidEvent) as of_another:
        publish_batch([{"type": "a", "data": 1, "organization": "other"}], organization="acme")
    with pytest.raises(InvalidEvent, match="at most 1,000 events"):
        publish_batch([{"type": "a", "data": 1}] * (MAX_EVENTS + 1), organization="acme")
    assert types() == []

    receipts = publish_batch(({"type": name, "data": 1} for name in "ab"), organization="acme", idempotency_key="k")
    again = publish_batch([{"type": name, "data": 1} for name in "ab"], organization="acme", idempotency_key="k")

    assert list(refused.value.fields) == ["events[1].data"]
    assert list(of_another.value.fields) == ["organization"]
    assert [receipt.id for receipt in receipts] == [receipt.id for receipt in again]
    assert ([receipt.is_repeat for receipt in again], types()) == ([True, True], ["a", "b"])
    assert publish_batch([], organization="acme") == []


@pytest.mark.parametrize(
    ("second", "field"),
    [
        ("push", "events[1]"),
        (None, "events[1]"),
        ({"type": "order.paid", "data": {1}}, "events[1].data"),
        ({"type": {1}, "data": 1}, "events[1].type"),
        ({"type": "order.paid", "data": 1, "timestamp": object()}, "events[1].timestamp"),
    ],
)
def test_what_is_no_event_in_a_batch_is_named(rung: list[wakeup.Work], second: Any, field: str) -> None:
    with transaction.atomic():
        with pytest.raises(InvalidEvent) as refused:
            publish_batch([{"type": "order.paid", "data": 1}, second], organization="acme")
        publish("order.next", {}, organization="acme")

    assert list(refused.value.fields) == [field]
    assert types() == ["order.next"]


def test_a_key_is_recognized_within_the_transaction_and_in_a_concurrent_one(rung: list[wakeup.Work]) -> None:
    with transaction.atomic():
        first = publish("order.paid", {"n": 1}, organization="acme", id="1")
        assert publish("order.paid", {"n": 1}, organization="acme", id="1").id == first.id
        with pytest.raises(IdempotencyKeyReused) as refused:
            publish("order.paid", {"n": 2}, organization="acme", id="1")

    def pay() -> Callable[[], object]:
        with transaction.atomic():
            return lambda: publish("order.once", {}, organization="acme", idempotency_key="2")

    results = together(*[pay() for _ in range(4)])

    assert list(refused.value.fields) == ["id"]
    assert types() == ["order.once", "order.paid"]
    assert sorted(result.is_repeat for result in results) == [False, True, True, True]  # type: ignore[attr-defined]


def test_a_repository_is_created_only_if_the_transaction_is_committed(rung: list[wakeup.Work]) -> None:
    Organization.objects.update(create_repositories=True)
    with pytest.raises(KeyError), transaction.atomic():
        publish("push", {}, organization="acme", repository="widgets")
        raise KeyError
    assert Repository.objects.count() == 0

    publish("push", {}, organization="acme", repository="widgets")

    assert Event.objects.get().repository == Repository.objects.get(name="widgets")


def test_data_that_violates_its_schema_is_refused(rung: list[wakeup.Work]) -> None:
    Organization.objects.update(validate_events=True)
    schema = json.dumps({"type": "object", "required": ["n"]})
    CustomEventType.objects.create(organization=Organization.objects.get(), type="order.paid", schema=schema)

    with pytest.raises(InvalidEvent) as refused:
        publish("order.paid", {}, organization="acme")

    assert list(refused.value.fields) == ["data.n"]
    assert publish("order.paid", {"n": 1}, organization="acme").type == "order.paid"


def test_rate_limits_are_not_for_the_projects_own_code(rung: list[wakeup.Work]) -> None:
    Organization.objects.update(limits={"events": 1})
    with override_settings(HOOKHUB_EVENTS_PER_ORGANIZATION=1):
        publish_batch([{"type": "a", "data": 1}] * 5, organization="acme")

    assert types() == ["a"] * 5


def test_only_what_is_documented_can_be_imported() -> None:
    assert hookhub.publish is publish
    with pytest.raises(AttributeError, match="no attribute 'unpublish'"):
        hookhub.unpublish  # type: ignore[attr-defined]  # noqa: B018

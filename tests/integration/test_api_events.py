"""`POST /v1/events` and reading events back, as a publisher does."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client

from deliveries.models import Event, Organization, Repository
from tests.api import Caller, faults

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["", "application/json;q=1"], ids=["the short way", "the long way"])
def api(request: pytest.FixtureRequest, organization: Organization) -> Caller:
    """Return a client with all permissions; its Accept header selects the fast path or the DRF path."""
    return Caller.of(organization, accept=request.param)


def test_one_event_is_accepted_and_stored_byte_for_byte(api: Caller) -> None:
    data = b'{"action":"opened", "n": 1.0,\t"big": 1e400, "twice": 1, "twice": 2, "s": "\\ud800"}'
    body = b'{"type": "issues", "data": ' + data + b" }"

    answer = api.post("/v1/events", body)

    assert answer.status_code == 202
    event = Event.objects.get()
    assert answer.json() == {"id": str(event.id), "type": "issues", "accepted_at": answer.json()["accepted_at"]}
    assert bytes(event.payload) == data
    assert event.topics == ["*", "issues", "issues.opened"]
    assert event.id.version == 7


@pytest.mark.parametrize("payload", ["null", "0", "[]", '""', "{}", '"\\u0000"', '{"e":"é🎉"}', "[[[[]]]]", "1" * 4000])
def test_data_may_be_any_json_value(api: Caller, payload: str) -> None:
    answer = api.post("/v1/events", f'{{"type":"push","data":{payload}}}'.encode())

    assert answer.status_code == 202
    assert bytes(Event.objects.get().payload) == payload.encode()
    assert api.get(f"/v1/events/{answer.json()['id']}").status_code == 200


def test_what_is_nested_deeper_than_can_be_shown_is_refused(api: Caller) -> None:
    fits, deep = (b'{"type":"push","data":' + b"[" * depth + b"]" * depth + b"}" for depth in (200, 202))

    accepted, refused = api.post("/v1/events", fits), api.post("/v1/events", deep)

    assert (accepted.status_code, refused.status_code, list(faults(refused))) == (202, 422, ["data"])
    assert api.get(f"/v1/events/{accepted.json()['id']}").status_code == 200


ARRAY = b'[{"type":"push","data":1}, {"type":"star.added","data":2}]'
LINES = b'{"type":"push","data":1}\r\n\n  {"type":"star.added","data":2}'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(ARRAY, "application/json", id="array"),
        pytest.param(LINES, "application/x-ndjson", id="ndjson"),
        pytest.param(LINES, "application/x-ndjson; charset=utf-8", id="ndjson with charset"),
    ],
)
def test_a_batch_is_accepted_in_order(api: Caller, body: bytes, content_type: str) -> None:
    answer = api.post("/v1/events", body, content_type=content_type)

    assert answer.status_code == 202
    ids = [UUID(row["id"]) for row in answer.json()["events"]]
    assert ids == sorted(ids)
    assert [row["type"] for row in answer.json()["events"]] == ["push", "star.added"]
    assert [bytes(event.payload) for event in Event.objects.order_by("id")] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"", 400, "malformed", id="empty"),
        pytest.param(b"[]", 400, "malformed", id="empty array"),
        pytest.param(b"{", 400, "malformed", id="cut off"),
        pytest.param(b'{"type":"push","data":1} x', 400, "malformed", id="something after the end"),
        pytest.param(b'{"type":"push","data":NaN}', 400, "malformed", id="NaN"),
        pytest.param(b'{"type":"push","data":-Infinity}', 400, "malformed", id="infinity"),
        pytest.param(b'{"type":"push","data":"\xff"}', 400, "malformed", id="not UTF-8"),
        pytest.param(b'{"type":"push","data":' + b"[" * 100_000, 400, "malformed", id="nested 100,000 deep"),
        pytest.param(b'{"type":"push","data":' + b"9" * 5000 + b"}", 400, "malformed", id="a number of 5,000 digits"),
        pytest.param(b'{"type":"push","type":"push","data":1}', 400, "malformed", id="a field given twice"),
        pytest.param(b'"push"', 400, "malformed", id="a text"),
        pytest.param(b"[1]", 400, "malformed", id="an array of a number"),
    ],
)
def test_what_cannot_be_read_is_refused_and_stores_nothing(api: Caller, body: bytes, status: int, code: str) -> None:
    answer = api.post("/v1/events", body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("event", "field"),
    [
        pytest.param({"data": 1}, "type", id="no type"),
        pytest.param({"type": "push"}, "data", id="no data"),
        *[
            pytest.param({"type": word, "data": 1}, "type", id=f"type {word!r:.30}")
            for word in ("", "*", "a b", "push\r\nX: 1", "a..b", ".a", "a%_", "é", "x" * 201, 5, ["push"], None)
        ],
        pytest.param({"type": "push", "data": 1, "id": ""}, "id", id="empty id"),
        pytest.param({"type": "push", "data": 1, "id": "x" * 256}, "id", id="long id"),
        pytest.param({"type": "push", "data": 1, "id": "a\0b"}, "id", id="NUL in id"),
        pytest.param({"type": "push", "data": 1, "id": 7}, "id", id="number as id"),
        pytest.param({"type": "push", "data": 1, "timestamp": "yesterday"}, "timestamp", id="no time"),
        pytest.param({"type": "push", "data": 1, "timestamp": "2026-01-01T00:00:00"}, "timestamp", id="no zone"),
        pytest.param(
            {"type": "push", "data": 1, "timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp", id="too early"
        ),
        pytest.param({"type": "push", "data": 1, "repository": "nope"}, "repository", id="unknown repository"),
        pytest.param(
            {"type": "push", "data": 1, "repository": "other/widgets"}, "repository", id="another's repository"
        ),
        pytest.param({"type": "push", "data": 1, "repository": 3}, "repository", id="number as repository"),
        pytest.param({"type": "push", "data": 1, "payload": 2}, "payload", id="unknown field"),
        pytest.param({"type": "push", "data": 1, "timestamp": "2026-W01-1T00+00"}, "timestamp", id="not RFC 3339"),
        pytest.param({"type": "webhook.disabled", "data": 1}, "type", id="our own event"),
        pytest.param({"type": "push", "data": 1, "repository": "\ud800"}, "repository", id="half a pair"),
    ],
)
def test_a_wrong_field_is_named_and_the_whole_batch_refused(api: Caller, event: dict[str, Any], field: str) -> None:
    single = api.post("/v1/events", json.dumps(event).encode())
    batch = api.post("/v1/events", json.dumps([{"type": "push", "data": 0}, event]).encode())

    assert (single.status_code, list(faults(single))) == (422, [field])
    assert (batch.status_code, list(faults(batch))) == (422, [f"events[1].{field}"])
    assert not Event.objects.exists()


def test_limits_are_413_and_name_what_is_too_long(api: Caller, settings: Any) -> None:
    settings.HOOKHUB_PAYLOAD_LIMIT = 1000
    fitting, long = json.dumps("x" * 998), json.dumps("x" * 999)

    assert api.post("/v1/events", f'{{"type":"push","data":{fitting}}}'.encode()).status_code == 202
    refused = api.post("/v1/events", f'{{"type":"push","data":{long}}}'.encode())
    many = api.post("/v1/events", json.dumps([{"type": "push", "data": 1}] * 1001).encode())
    settings.HOOKHUB_REQUEST_LIMIT = 100
    huge = api.post("/v1/events", b" " * 101)

    assert (refused.status_code, list(faults(refused))) == (413, ["data"])
    assert (many.status_code, huge.status_code) == (413, 413)
    assert Event.objects.count() == 1


def test_a_thousand_events_take_as_many_statements_as_one(
    api: Caller, django_assert_max_num_queries: Callable[[int], Any], repository: Repository
) -> None:
    batch = [{"type": "push", "data": n, "id": f"k{n}", "repository": "acme/widgets"} for n in range(1000)]

    # Statements through Django: the key, the repositories, the transaction; the engine's own are counted elsewhere.
    with django_assert_max_num_queries(6):
        answer = api.post("/v1/events", json.dumps(batch).encode())

    assert answer.status_code == 202
    assert Event.objects.filter(repository=repository).count() == 1000


def test_a_repeat_gets_the_first_answer_and_publishes_nothing(api: Caller) -> None:
    body = b'{"type":"push","data":{"a":1},"id":"abc"}'

    first, second = api.post("/v1/events", body), api.post("/v1/events", body)
    other = api.post("/v1/events", b'{"type":"push","data":{"a":2},"id":"abc"}')

    assert first.json() == second.json()
    assert ("Idempotent-Replayed" in first.headers, second.headers["Idempotent-Replayed"]) == (False, "true")
    assert (other.status_code, list(faults(other))) == (409, ["id"])
    assert Event.objects.count() == 1


def test_the_header_is_the_key_of_the_whole_request(api: Caller) -> None:
    batch, shorter = ARRAY, b'[{"type":"push","data":1}]'

    first = api.post("/v1/events", batch, headers={"Idempotency-Key": "k"})
    again = api.post("/v1/events", batch, headers={"Idempotency-Key": "k"})
    other = api.post("/v1/events", shorter, headers={"Idempotency-Key": "k"})
    single = api.post("/v1/events", b'{"type":"push","data":1}', headers={"Idempotency-Key": "s"})
    same = api.post("/v1/events", b'{"type":"push","data":1, "id": "s"}')

    assert first.json() == again.json()
    assert (other.status_code, single.status_code) == (409, 202)
    assert same.json() == single.json()
    assert Event.objects.count() == 3


def test_a_key_used_twice_in_one_request_or_two_ways_is_refused(api: Caller) -> None:
    twice = api.post("/v1/events", b'[{"type":"push","data":1,"id":"a"},{"type":"push","data":2,"id":"a"}]')
    differs = api.post("/v1/events", b'{"type":"push","data":1,"id":"a"}', headers={"Idempotency-Key": "b"})
    empty = api.post("/v1/events", b'{"type":"push","data":1}', headers={"Idempotency-Key": "x" * 250})

    assert [answer.status_code for answer in (twice, differs, empty)] == [422, 422, 422]
    assert not Event.objects.exists()


def test_a_conflict_in_a_batch_accepts_nothing_of_it(api: Caller) -> None:
    api.post("/v1/events", b'{"type":"push","data":1,"id":"a"}')

    answer = api.post("/v1/events", b'[{"type":"push","data":5,"id":"new"},{"type":"push","data":2,"id":"a"}]')

    assert (answer.status_code, list(faults(answer))) == (409, ["events[1].id"])
    assert Event.objects.count() == 1


def test_two_organizations_may_use_the_same_key(api: Caller, other: Caller) -> None:
    body = b'{"type":"push","data":1,"id":"same"}'

    assert {api.post("/v1/events", body).status_code, other.post("/v1/events", body).status_code} == {202}
    assert Event.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_hundred_posts_at_once_with_one_key_make_one_event(api: Caller) -> None:
    body = b'{"type":"push","data":1,"id":"race"}'

    def post(_: int) -> tuple[int, str]:
        try:
            answer = Client().post("/v1/events", body, content_type="application/json", headers=api.headers)
            return answer.status_code, answer.content.decode()
        finally:
            connection.close()

    with ThreadPoolExecutor(12) as pool:
        answers = set(pool.map(post, range(100)))

    assert len(answers) == 1
    assert answers.pop()[0] == 202
    assert Event.objects.count() == 1


def test_events_are_listed_newest_first_page_by_page_and_filtered(api: Caller, repository: Repository) -> None:
    for number in range(7):
        api.post("/v1/events", json.dumps({"type": f"t{number % 2}", "data": number, "repository": "widgets"}).encode())

    pages, address = [], "/v1/events?limit=3"
    while address:
        page = api.get(address).json()
        pages.append([row["id"] for row in page["results"]])
        address = page["next"]
    seen = [uid for page in pages for uid in page]

    assert [len(page) for page in pages] == [3, 3, 1]
    assert seen == [str(event.id) for event in Event.objects.order_by("-id")]
    assert len(api.get("/v1/events?type=t0").json()["results"]) == 4
    assert len(api.get("/v1/events?repository=widgets").json()["results"]) == 7
    assert api.get("/v1/events?after=2099-01-01T00:00:00Z").json()["results"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=nonsense", "cursor"),
        ("after=soon", "after"),
        ("before=2026-01-01", "before"),
        ("type=%00", "type"),
        ("repository=nope", "repository"),
        ("tpye=push", "tpye"),
    ],
)
def test_a_query_that_cannot_be_understood_is_refused(api: Caller, query: str, field: str) -> None:
    answer = api.get(f"/v1/events?{query}")

    assert (answer.status_code, list(faults(answer))) == (422, [field])


def test_an_operators_key_names_the_organization(operator: Caller, organization: Organization, other: Caller) -> None:
    answer = operator.post("/v1/events", b'{"type":"push","data":1,"organization":"acme"}')
    unnamed = operator.post("/v1/events", b'{"type":"push","data":1}')
    mixed = operator.post("/v1/events", b'[{"type":"push","data":1,"organization":"acme"},{"type":"push","data":1}]')

    assert answer.status_code == 202
    assert Event.objects.get().organization == organization
    assert (unnamed.status_code, mixed.status_code) == (422, 422)

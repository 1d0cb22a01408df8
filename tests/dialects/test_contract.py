"""What holds for every dialect, tested on every method of every route in the registry."""

import base64
import copy
import json
from contextlib import closing
from datetime import datetime
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from freezegun import freeze_time

from deliveries import systems
from deliveries.event_types import catalogue
from deliveries.formats import FORMATS
from deliveries.models import Attempt, Delivery, Organization, Repository, Webhook
from deliveries.sending.sender import make_sender
from hookhub.dialects import DIALECTS
from hookhub.models import Scope
from tests.api import Caller
from tests.dialects.doors import Behind, Door, doors, reads_json, texts_in
from tests.dialects.exchanges import GOLDEN, STORIES, tell
from tests.receiver import Receiver
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

DOORS = list(doors())
# A second prefix leads to the same views.
ONCE = [door for door in DOORS if door.prefix == DIALECTS[door.dialect].prefixes[0]]
WITH_A_BODY = [door for door in DOORS if door.method in {"POST", "PUT", "PATCH"} and reads_json(door)]
WITH_A_BODY_ONCE = [door for door in WITH_A_BODY if door in ONCE]
SOMEBODYS = [door for door in DOORS if door.names - {"rest"}]
# Without a key, the hub is WebSub's.
WITH_A_KEY = [door for door in DOORS if not door.route.endswith("hub")]
SECRET = "a secret that is read back nowhere"
TOKEN = "Bearer a-token-that-is-read-back-nowhere"


def names(door: Door) -> str:
    return f"{door.dialect} {door.method} {door.route}"


every_door = pytest.mark.parametrize("door", DOORS, ids=names)


@pytest.fixture(scope="module")
def delivered(rows_of_the_module: None, now: datetime) -> Behind:
    """Create a webhook of a repository, and deliver a push to it."""
    with Receiver() as receiver, closing(make_sender(slots=1)) as sender:
        forge = Forge.make(receiver, slug="forge")
        webhook = forge.webhook(
            now=now, repository=forge.repository, format="coregit", secret=SECRET, headers={"X-Token": TOKEN}
        )
        forge.accept(now=now)
        deliver_due(sender, now=now)
    return Behind(forge.repository, webhook, Attempt.objects.get())


@pytest.fixture
def behind(delivered: Behind, db: None) -> Behind:
    """Return the delivery's rows; what a test does to them is undone."""
    return copy.deepcopy(delivered)


@pytest.fixture
def owner(behind: Behind) -> Caller:
    return Caller.of(behind.repository.organization)


def everything() -> tuple[str, ...]:
    """Return all rows that a request could have changed, each table as one text."""
    # Asked about a thousand times, so in one statement, and without Django's objects.
    tables = [model._meta.db_table for model in (Webhook, Delivery, Attempt, Repository)]
    rows = (f"(SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM {table} AS t)" for table in tables)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(rows)}")
        return cursor.fetchone()


def test_the_registry_is_well_formed() -> None:
    for slug, dialect in DIALECTS.items():
        assert dialect.slug == slug
        assert (dialect.title, dialect.default_format) == (
            systems.SYSTEMS[slug].title,
            systems.SYSTEMS[slug].wire_format,
        )
        assert dialect.default_format in FORMATS
        assert catalogue.of(dialect.catalogue).types
        assert all(prefix == "" or prefix.endswith("/") for prefix in dialect.prefixes)
        views = {pattern.callback.cls for pattern in dialect.routes}
        assert {(view.slug, view.title) for view in views} == {(slug, dialect.title)}
        for door in (door for door in DOORS if door.dialect == slug):
            assert door.names <= {"owner", "repo", "webhook", "delivery", "rest"}


# Requests that change nothing share one test for each endpoint, because creating the rows costs more than the requests.
@pytest.mark.parametrize("door", WITH_A_KEY, ids=names)
def test_without_a_key_it_is_401_and_nothing_happens(behind: Behind, door: Door) -> None:
    before = everything()

    for header in (None, "Bearer hh_000000000000_" + "a" * 43, "token x", "Basic YTpi", "Basic é", ""):
        headers = {} if header is None else {"Authorization": header}
        answer = Client().generic(door.method, door.address(behind), b"{}", "application/json", headers=headers)

        assert (answer.status_code, "WWW-Authenticate" in answer.headers) == (401, True), header
        assert isinstance(answer.json(), dict), header
        assert everything() == before, header


@pytest.mark.parametrize("door", SOMEBODYS, ids=names)
def test_a_key_of_the_wrong_scope_is_403_and_nothing_happens(behind: Behind, door: Door) -> None:
    before = everything()
    scopes = [Scope.PUBLISH] if door.method == "GET" else [Scope.PUBLISH, Scope.READ]

    answers = [
        Caller.of(behind.repository.organization, scope).send(door.method, door.address(behind), {}) for scope in scopes
    ]

    assert {answer.status_code for answer in answers} == {403}
    assert everything() == before


@pytest.mark.parametrize("door", SOMEBODYS, ids=names)
def test_anothers_is_404_as_if_it_did_not_exist(behind: Behind, other: Caller, door: Door) -> None:
    before = everything()
    address, nowhere = door.address(behind), door.address(behind, owner="nobody", webhook="0", delivery="0")

    answers = [other.send(door.method, path, {}) for path in (address, nowhere)]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert everything() == before


@pytest.mark.parametrize(
    "body", [{}, {"url": "https://example.com/b", "events": ["push"]}, {"config": {"url": "https://example.com/b"}}]
)
@pytest.mark.parametrize("door", ONCE, ids=names)
def test_a_webhook_of_a_format_that_only_another_version_knows_breaks_nothing(
    behind: Behind, owner: Caller, door: Door, body: dict[str, Any]
) -> None:
    Webhook.objects.update(format="of-tomorrow")

    answer = owner.send(door.method, door.address(behind), body)

    assert answer.status_code < 500
    assert set(Webhook.objects.kept().filter(pk=behind.webhook.pk).values_list("format", "stored_url")) <= {
        ("of-tomorrow", behind.webhook.url)
    }


@every_door
def test_where_nothing_can_be_written_down_it_is_503_and_says_when_to_come_again(
    behind: Behind, owner: Caller, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        with connection.wrap_database_errors:
            raise psycopg.errors.ReadOnlySqlTransaction("cannot execute UPDATE in a read-only transaction")

    monkeypatch.setattr("hookhub.http.authentication.find", refuse)

    answer = owner.send(door.method, door.address(behind), {})

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert isinstance(answer.json(), dict)


BAD_BODIES = {
    "not JSON": b'{"a":',
    "NaN": b'{"a": NaN}',
    "not UTF-8": b'{"a": "\xff"}',
    "nested": b"[" * 100_000,
    "nested, and closed": b'{"events": ' + b"[" * 900 + b"]" * 900 + b"}",
    "an array": b"[]",
    "a text": b'"a"',
    "null": b"null",
    "a number": b"1e400",
}


@pytest.mark.parametrize("door", WITH_A_BODY, ids=names)
def test_a_body_that_is_no_json_object_is_400(behind: Behind, owner: Caller, door: Door) -> None:
    before = everything()

    for kind, content in BAD_BODIES.items():
        answer = owner.send(door.method, door.address(behind), content)

        assert answer.status_code == 400, kind
        assert isinstance(answer.json(), dict), kind
        assert everything() == before, kind


ACCEPTED = ("", "application/vnd.github.v3+json", "application/json; version=9", "text/html", "image/png", "*/*", "x")


@pytest.mark.parametrize("door", [door for door in DOORS if door.method == "GET"], ids=names)
def test_whatever_is_asked_for_the_answer_is_json(behind: Behind, owner: Caller, door: Door) -> None:
    for accept in ACCEPTED:
        headers = {"Authorization": f"Bearer {owner.key}", "Accept": accept}

        answer = Client().get(door.address(behind), headers=headers)

        assert answer.status_code == (404 if "rest" in door.names else 200), accept
        assert answer.headers["Content-Type"].startswith("application/json"), accept


@pytest.mark.parametrize(
    "content_type", ["application/vnd.github.v3+json", "application/x-www-form-urlencoded", "text/plain", ""]
)
@pytest.mark.parametrize("door", WITH_A_BODY, ids=names)
def test_a_body_is_read_as_json_whatever_it_calls_itself(
    behind: Behind, owner: Caller, door: Door, content_type: str
) -> None:
    def answer_to(content: bytes) -> int:
        answer = owner.send(door.method, door.address(behind), content, content_type=content_type)
        return int(answer.status_code)

    # Malformed JSON is distinguished from valid JSON, so the body was parsed; the status is never 415.
    assert answer_to(b"{") == 400
    assert answer_to(b"{}") not in {400, 415, 500}


@pytest.mark.parametrize("way", ["Bearer {0}", "bearer {0}", "token {0}", "Basic {1}", "Basic {2}", "Basic {3}"])
def test_a_key_comes_in_every_way_that_clients_have(behind: Behind, owner: Caller, way: str) -> None:
    as_basic = [
        base64.b64encode(f"{user}:{password}".encode()).decode()
        for user, password in [("octocat", owner.key), (owner.key, ""), (owner.key, "x-oauth-basic")]
    ]
    door = next(door for door in DOORS if door.method == "GET" and "rest" not in door.names)

    answer = Client().get(door.address(behind), headers={"Authorization": way.format(owner.key, *as_basic)})

    assert answer.status_code == 200


@every_door
def test_secrets_are_never_read_back(behind: Behind, owner: Caller, door: Door) -> None:
    # An endpoint that creates or rotates a secret shows the new one once, and never the existing one.
    answer = owner.send(door.method, door.address(behind), {})

    shown = "\n".join(
        [answer.content.decode(), *answer.headers.values(), *texts_in(json.loads(answer.content or b"0"))]
    )
    assert SECRET not in shown
    assert TOKEN.removeprefix("Bearer ") not in shown


WORDS = ["0", "-1", "9" * 18, "9" * 19, "9" * 400, "1e3", "١", "%00", "%2e%2e", "%F0%9F%92%A9", "' OR 1=1", "x" * 3000]


@pytest.mark.parametrize("door", [door for door in SOMEBODYS if door in ONCE], ids=names)
def test_a_path_that_leads_nowhere_is_404(behind: Behind, owner: Caller, door: Door) -> None:
    for word in WORDS:
        for name in door.names:
            answer = owner.send(door.method, door.address(behind, **{name: word}), {})
            assert answer.status_code == 404, (name, word)


QUERIES = [
    "page=0", "page=-1", "page=99999999999999999999", "page=x", "page=%00", "per_page=0", "per_page=1e9", "per_page=x",
    "per_page=-5", "per_page=99999999999999999999", "cursor=x", "cursor=%00", "cursor=v1_", "cursor=" + "A" * 5000,
    "cursor=v1_99999999999999999999", "status=x", "status=%00", "limit=0", "limit=x", "a=1&a=2", "%00=1",
    "page=1&page=x", "organization=other", "organization=%00", "hours=x", "%F0=%F0", "page=١",
]  # fmt: skip


@pytest.mark.parametrize("door", [door for door in ONCE if door.method == "GET"], ids=names)
def test_no_query_breaks_it(behind: Behind, owner: Caller, door: Door) -> None:
    for query in QUERIES:
        answer = owner.get(f"{door.address(behind)}?{query}")

        assert answer.status_code in {200, 400, 404, 422}, query
        assert isinstance(answer.json(), dict | list), query


HOSTILE: list[Any] = [
    None, True, 0, -1, 10**400, 1e308, "", "\0", "a\0b", "\ud800", "x" * 100_000, "\r\nX-Evil: 1", "http://[::1", "*",
    "javascript:alert(1)", [], [None], [[]], ["\0"], ["x" * 10_000], [1, 2], {}, {"url": None}, {"url": "\0"},
    {"url": ["http://a"], "content_type": {}, "secret": [], "insecure_ssl": {}}, {"\0": "\0"}, {"a": {"b": {"c": []}}},
    ["push"] * 5_000,
]  # fmt: skip
FIELDS = [
    "url", "events", "active", "secret", "config", "name", "add_events", "remove_events", "content_type", "format",
    "insecure_ssl", "\0",
]  # fmt: skip


def pairwise(*numbers: int, parts: int = 5) -> list[Any]:
    """Return a part of the hostile values, so that each meets every endpoint and every field, if not each pair."""
    return HOSTILE[sum(numbers) % parts :: parts]


@pytest.mark.parametrize("door", WITH_A_BODY_ONCE, ids=names)
def test_no_value_of_any_field_breaks_it(behind: Behind, owner: Caller, door: Door) -> None:
    rest = {"url": "http://127.0.0.1:9999/", "config": {"url": "http://127.0.0.1:9999/"}}

    for number, field in enumerate(FIELDS):
        for value in pairwise(WITH_A_BODY_ONCE.index(door), number):
            answer = owner.send(door.method, door.address(behind), json.dumps({**rest, field: value}).encode())

            assert answer.status_code < 500, (field, value, answer.content[:300])
    assert Webhook.objects.kept().filter(pk=behind.webhook.pk).exists()


def test_every_dialect_is_in_the_openapi_document(db: None) -> None:
    paths = Client().get("/v1/openapi.json").json()["paths"]

    operations = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    wanted = {
        (door.method, "/" + door.route.replace("<str:", "{").replace(">", "}"))
        for door in DOORS
        if "rest" not in door.names
    }
    assert wanted <= operations
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_every_dialect_has_golden_exchanges() -> None:
    assert {slug for slug, _ in STORIES} == set(DIALECTS)


@pytest.mark.parametrize(("slug", "story"), STORIES)
def test_what_the_documentation_shows_is_what_happens(
    slug: str, story: str, organization: Organization, repository: Repository, now: datetime
) -> None:
    with freeze_time(now):
        tell(GOLDEN / slug / f"{story}.http", caller=Caller.of(organization))

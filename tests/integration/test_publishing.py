"""The fast path: its cost, its caches, and that it answers exactly as the DRF path does."""

import json
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from unittest import mock

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from freezegun import freeze_time

from deliveries import pipeline
from deliveries.events import NameSnapshot, NewEvent, StaleNames
from deliveries.models import Event, Organization, Repository
from hookhub.api.events import EventsView
from hookhub.models import ApiKey, Membership, Scope
from hookhub.row_cache import TTL
from tests.api import Caller, faults
from tests.story import ReadOnly, counted_statements

pytestmark = pytest.mark.django_db

EVENT = {"type": "push", "data": 1, "repository": "acme/widgets"}
CHOOSY = "application/json;q=1"


@pytest.fixture
def publisher(organization: Organization) -> Caller:
    return Caller.of(organization, Scope.PUBLISH)


@pytest.fixture
def choosy(organization: Organization) -> Caller:
    """Return a publisher whose Accept header requires the DRF path."""
    return Caller.of(organization, Scope.PUBLISH, accept=CHOOSY)


# What it costs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [EVENT, [{**EVENT, "data": n} for n in range(100)]], ids=["one event", "a batch"])
def test_what_is_published_twice_a_second_takes_one_statement(
    publisher: Caller, repository: Repository, body: object
) -> None:
    publisher.post("/v1/events", body)

    with counted_statements() as statements:
        answer = publisher.post("/v1/events", body)

    assert answer.status_code == 202
    assert len(statements) == 1


def test_a_program_does_not_meet_the_framework(publisher: Caller, choosy: Caller, repository: Repository) -> None:
    with mock.patch.object(EventsView, "post", side_effect=AssertionError):
        assert publisher.post("/v1/events", EVENT).status_code == 202
        assert choosy.post("/v1/events", EVENT).status_code == 500


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/plain, */*"])
@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/jsonl"])
def test_what_programs_usually_send_takes_the_fast_path(
    organization: Organization, repository: Repository, accept: str, content_type: str
) -> None:
    caller = Caller.of(organization, accept=accept)

    with mock.patch.object(EventsView, "post", side_effect=AssertionError):
        assert caller.post("/v1/events", EVENT, content_type=content_type).status_code == 202


# Both paths answer the same ------------------------------------------------------------------------------------------

REQUESTS = {
    "an event": (EVENT, {}),
    "a batch": ([EVENT, EVENT], {}),
    "with a key of its own": ({**EVENT, "id": "é 🎉"}, {}),
    "with a key in the header": (EVENT, {"Idempotency-Key": "k"}),
    "with a moment": ({**EVENT, "timestamp": "2026-03-04T12:00:00.123456789+02:00"}, {}),
    "that cannot be read": (b"{", {}),
    "with nothing in it": ([], {}),
    "without a type": ({"data": 1}, {}),
    "about an unknown repository": ({**EVENT, "repository": "nope"}, {}),
    "about another's repository": ({**EVENT, "repository": "other/widgets"}, {}),
    "of another organization": ({**EVENT, "organization": "other"}, {}),
    "of an organization without a name": ({**EVENT, "organization": ""}, {}),
    "with two keys": ({**EVENT, "id": "a"}, {"Idempotency-Key": "b"}),
    "with a key too long": (EVENT, {"Idempotency-Key": "x" * 250}),
    "without a valid key": (EVENT, {"Authorization": "Bearer hh_000000000000_" + "a" * 43}),
    "without the word Bearer": (EVENT, {"Authorization": "Basic YTpi"}),
}


@pytest.mark.parametrize(("body", "headers"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_answered_the_same_both_ways(
    organization: Organization, repository: Repository, now: datetime, body: object, headers: dict[str, str]
) -> None:
    Organization.objects.create(slug="other")
    answers = []

    with freeze_time(now):
        for accept in ("*/*", CHOOSY):
            Event.objects.all().delete()
            answer = Caller.of(organization, accept=accept).post("/v1/events", body, headers=headers)
            facts = list(Event.objects.order_by("id").values("type", "repository", "idempotency_key", "occurred_at"))
            # The ids are new each time.
            text = answer.content.decode()
            for event in Event.objects.all():
                text = text.replace(str(event.id), "ID")
            told = {name: answer.headers.get(name) for name in ("Content-Type", "WWW-Authenticate", "Content-Length")}
            answers.append((answer.status_code, text, told, facts))

    assert answers[0] == answers[1]


def test_the_moment_is_written_as_everywhere_else(publisher: Caller, api: Caller, repository: Repository) -> None:
    with freeze_time(datetime(2026, 3, 4, 12, tzinfo=UTC)):
        answer = publisher.post("/v1/events", EVENT).json()

    assert answer["accepted_at"] == "2026-03-04T12:00:00Z"
    assert api.get(f"/v1/events/{answer['id']}").json()["accepted_at"] == answer["accepted_at"]


def test_a_host_that_is_not_served_is_refused(publisher: Caller, repository: Repository, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["hooks.example.org"]

    refused = publisher.post("/v1/events", EVENT, headers={"Host": "evil.example.org"})
    accepted = publisher.post("/v1/events", EVENT, headers={"Host": "hooks.example.org"})

    assert (refused.status_code, accepted.status_code, Event.objects.count()) == (400, 202, 1)


def test_a_person_publishes_with_a_session_and_a_token_only(organization: Organization) -> None:
    ada = User.objects.create_user("ada")
    Membership.objects.create(user=ada, organization=organization)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ada)
    event = json.dumps({"type": "push", "data": 1})

    page = browser.get("/v1/events", headers={"Accept": "text/html"})
    token = page.context["csrf_token"]
    without, with_it = (
        browser.post("/v1/events", event, content_type="application/json", headers=headers)
        for headers in ({}, {"X-CSRFToken": str(token)})
    )

    assert (page.status_code, without.status_code, with_it.status_code) == (200, 403, 202)
    assert Event.objects.count() == 1


@pytest.mark.parametrize("accept", ["*/*", CHOOSY])
def test_of_a_body_that_was_cut_off_nothing_is_accepted(organization: Organization, accept: str) -> None:
    caller = Caller.of(organization, accept=accept)
    lines = b'{"type":"push","data":1}\n'

    answer = caller.client.generic(
        "POST", "/v1/events", b"", content_type="application/x-ndjson", headers=caller.headers,
        **{"CONTENT_LENGTH": str(len(lines) * 2), "wsgi.input": BytesIO(lines)},
    )  # fmt: skip

    assert (answer.status_code, "25 of 50 bytes" in answer.json()["error"]["message"]) == (400, True)
    assert not Event.objects.exists()


# Caching -------------------------------------------------------------------------------------------------------------


def revoke(caller: Caller) -> None:
    ApiKey.objects.filter(key_id=caller.key.split("_")[1]).update(revoked_at=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_key_revoked_elsewhere_opens_nothing_more_after_a_few_seconds(publisher: Caller, now: datetime) -> None:
    event = {"type": "push", "data": 1}
    with freeze_time(now) as clock:
        assert publisher.post("/v1/events", event).status_code == 202
        revoke(publisher)
        clock.tick(TTL - timedelta(microseconds=1))
        within = publisher.post("/v1/events", event)
        clock.tick(timedelta(microseconds=1))
        after = publisher.post("/v1/events", event)

    assert (within.status_code, after.status_code) == (202, 401)


def test_a_clock_that_is_set_back_makes_no_key_live_longer(publisher: Caller, now: datetime) -> None:
    event = {"type": "push", "data": 1}
    with freeze_time(now) as clock:
        assert publisher.post("/v1/events", event).status_code == 202
        revoke(publisher)
        clock.tick(timedelta(hours=-1))
        assert publisher.post("/v1/events", event).status_code == 401


def test_a_key_revoked_through_the_api_opens_nothing_more_at_once(api: Caller) -> None:
    made = api.post("/v1/api-keys", {"scope": "publish"}).json()
    publisher = Caller(made["key"])
    event = {"type": "push", "data": 1}

    before = publisher.post("/v1/events", event)
    api.delete(f"/v1/api-keys/{made['id']}")
    after = publisher.post("/v1/events", event)

    assert (before.status_code, after.status_code) == (202, 401)


def test_what_was_not_there_a_moment_ago_works_as_soon_as_it_is(publisher: Caller, organization: Organization) -> None:
    before = publisher.post("/v1/events", EVENT)
    Repository.objects.create(organization=organization, name="widgets")
    after = publisher.post("/v1/events", EVENT)

    assert (before.status_code, list(faults(before)), after.status_code) == (422, ["repository"], 202)


def test_nothing_is_accepted_about_a_repository_that_was_deleted_a_moment_ago(api: Caller) -> None:
    api.post("/v1/repositories", {"name": "widgets"})
    assert api.post("/v1/events", EVENT).status_code == 202

    api.delete("/v1/repositories/widgets")
    single, batch = api.post("/v1/events", EVENT), api.post("/v1/events", [{"type": "push", "data": 1}, EVENT])

    assert (single.status_code, list(faults(single))) == (422, ["repository"])
    assert (batch.status_code, list(faults(batch))) == (422, ["events[1].repository"])
    assert Event.objects.count() == 1


def test_a_repository_that_was_deleted_and_made_again_is_the_new_one(api: Caller) -> None:
    for _ in range(2):
        api.post("/v1/repositories", {"name": "widgets"})
        assert api.post("/v1/events", EVENT).status_code == 202
        newest = Repository.objects.get()
        api.delete("/v1/repositories/widgets")

    assert Event.objects.order_by("-id")[0].repository_id == newest.pk


def test_a_name_that_changed_hands_means_who_has_it_now(operator: Caller, repository: Repository) -> None:
    acme = repository.organization
    event = {**EVENT, "organization": "acme", "repository": "widgets"}
    assert operator.post("/v1/events", event).status_code == 202

    operator.patch("/v1/repositories/widgets?organization=acme", {"name": "old"})
    gadgets = Repository.objects.create(organization=acme, name="widgets")
    assert operator.post("/v1/events", event).status_code == 202
    operator.patch("/v1/organizations/acme", {"slug": "formerly-acme"})
    heir = Organization.objects.create(slug="acme")
    refused = operator.post("/v1/events", event)
    assert operator.post("/v1/events", {"type": "push", "data": 1, "organization": "acme"}).status_code == 202

    about = list(Event.objects.order_by("id").values_list("organization", "repository"))
    assert (refused.status_code, list(faults(refused))) == (422, ["repository"])
    assert about == [(acme.pk, repository.pk), (acme.pk, gadgets.pk), (heir.pk, None)]


def test_an_organization_goes_by_its_new_name_at_once(api: Caller, repository: Repository) -> None:
    assert api.post("/v1/events", EVENT).status_code == 202

    api.patch("/v1/organizations/acme", {"slug": "globex"})

    assert api.post("/v1/events", {**EVENT, "repository": "globex/widgets"}).status_code == 202


def test_an_operators_key_finds_each_organization_once(operator: Caller, organization: Organization) -> None:
    named = {"type": "push", "data": 1, "organization": "acme"}
    by_query = "/v1/events?organization=acme"
    assert operator.post("/v1/events", named).status_code == 202

    with counted_statements() as statements:
        answers = [operator.post("/v1/events", named), operator.post(by_query, {"type": "push", "data": 1})]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert len(statements) == 2
    assert set(Event.objects.values_list("organization_id", flat=True)) == {organization.pk}


def test_that_there_is_only_one_organization_is_not_remembered(operator: Caller, organization: Organization) -> None:
    event = {"type": "push", "data": 1}
    alone = operator.post("/v1/events", event)
    Organization.objects.create(slug="other")
    among_others = operator.post("/v1/events", event)

    assert (alone.status_code, among_others.status_code) == (202, 422)


def test_the_use_of_a_key_is_noted_once_a_minute(publisher: Caller, now: datetime) -> None:
    noted = []
    with freeze_time(now) as clock:
        for _ in range(130):
            publisher.post("/v1/events", {"type": "push", "data": 1})
            noted.append(ApiKey.objects.get().last_used_at)
            clock.tick(timedelta(seconds=1))

    assert sorted(set(noted)) == [now, now + timedelta(seconds=61), now + timedelta(seconds=122)]


def test_a_key_that_only_reads_publishes_nothing_either_way(organization: Organization) -> None:
    for accept in ("*/*", CHOOSY):
        answer = Caller.of(organization, Scope.READ, accept=accept).post("/v1/events", {"type": "push", "data": 1})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


# When the database does not answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["*/*", CHOOSY])
def test_an_outcome_that_is_not_known_is_503_and_nobody_here_tries_again(
    organization: Organization, accept: str
) -> None:
    caller = Caller.of(organization, accept=accept)

    with mock.patch.object(pipeline, "accept", side_effect=OperationalError("server closed the connection")) as tried:
        answer = caller.post("/v1/events", {"type": "push", "data": 1})

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert tried.call_count == 1


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_ended_while_nobody_looked_costs_no_publisher_an_answer(
    publisher: Caller, repository: Repository
) -> None:
    assert publisher.post("/v1/events", EVENT).status_code == 202
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])
    # As Django does between two requests.
    connection.close_if_unusable_or_obsolete()

    assert publisher.post("/v1/events", EVENT).status_code == 202
    assert Event.objects.count() == 2


@pytest.mark.parametrize("accept", ["*/*", CHOOSY])
@pytest.mark.parametrize("is_remembered", [False, True])
@pytest.mark.django_db(transaction=True)
def test_a_read_only_database_is_503_and_the_next_request_has_another_connection(
    organization: Organization, repository: Repository, read_only: ReadOnly, accept: str, *, is_remembered: bool
) -> None:
    caller = Caller.of(organization, accept=accept)
    if is_remembered:
        caller.post("/v1/events", EVENT)
    read_only.on()

    answer = caller.post("/v1/events", EVENT)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert Event.objects.count() == is_remembered
    # A read-only database still serves readers.
    assert caller.get("/v1/events").status_code == 200
    read_only.off()
    # As Django does between two requests.
    connection.close_if_unusable_or_obsolete()
    assert caller.post("/v1/events", EVENT).status_code == 202


@pytest.mark.parametrize("keys", [[None], ["a"], [None, None, None], ["a", None, "b"]])
def test_the_engine_stores_nothing_that_goes_by_what_is_no_longer_so(
    organization: Organization, repository: Repository, now: datetime, keys: list[str | None]
) -> None:
    events = [
        NewEvent(
            organization.pk, repository.pk, "push", ("*",), b"1", now,
            idempotency_key=key, fingerprint=b"f" if key else None,
        )
        for key in keys
    ]  # fmt: skip
    true = NameSnapshot({organization.pk: "acme"}, {repository.pk: "widgets"})
    gone = repository.pk + 1000
    for snapshot in (
        NameSnapshot({organization.pk: "globex"}, {}),
        NameSnapshot({organization.pk + 1000: "acme"}, {}),
        NameSnapshot({}, {repository.pk: "gadgets"}),
        NameSnapshot({}, {repository.pk: "widgets", gone: "gadgets"}),
    ):
        with pytest.raises(StaleNames):
            pipeline.accept(events, snapshot=snapshot, now=now)

    assert not Event.objects.exists()
    assert len(pipeline.accept(events, snapshot=true, now=now)) == len(keys) == Event.objects.count()

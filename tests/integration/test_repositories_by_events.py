"""Repositories created by the first event about them, where their organization allows it."""

import threading

import pytest
from django.db import connection

from deliveries.models import AuditEntry, Event, Organization, Repository
from hookhub.models import Scope
from hookhub.publishing import repositories
from hookhub.publishing.parse import read
from hookhub.publishing.redis_stream.entries import Entry, ParsedEntry
from hookhub.publishing.redis_stream.ingest import store
from tests.api import Caller, faults
from tests.story import counted_statements

EVENT = {"type": "push", "data": 1, "repository": "acme/widgets"}
pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(organization: Organization) -> Organization:
    organization.create_repositories = True
    organization.save()
    return organization


@pytest.fixture
def publisher(acme: Organization) -> Caller:
    return Caller.of(acme, Scope.PUBLISH)


def names() -> list[str]:
    return sorted(Repository.objects.values_list("name", flat=True))


def test_without_the_setting_an_unknown_repository_is_refused_and_not_created(organization: Organization) -> None:
    answer = Caller.of(organization, Scope.PUBLISH).post("/v1/events", EVENT)

    assert (answer.status_code, faults(answer)) == (
        422, {"repository": "acme has no such repository; create it with POST /v1/repositories"},
    )  # fmt: skip
    assert (names(), Event.objects.count()) == ([], 0)


def test_the_first_event_creates_its_repository_and_the_audit_log_says_so(publisher: Caller) -> None:
    answer = publisher.post("/v1/events", [EVENT, {**EVENT, "repository": "gadgets"}])

    assert answer.status_code == 202
    assert names() == ["gadgets", "widgets"]
    assert sorted(Event.objects.values_list("repository__name", flat=True)) == ["gadgets", "widgets"]
    assert [repository.private for repository in Repository.objects.all()] == [True, True]
    entries = AuditEntry.objects.filter(action="repository.created")
    assert sorted(entry.actor_kind for entry in entries) == ["api_key", "api_key"]


def test_a_repository_that_is_known_costs_no_statement_more(publisher: Caller) -> None:
    publisher.post("/v1/events", EVENT)
    publisher.post("/v1/events", EVENT)

    with counted_statements() as statements:
        answer = publisher.post("/v1/events", EVENT)

    assert (answer.status_code, len(statements)) == (202, 1)


@pytest.mark.parametrize("name", ["other/widgets", "a b", "acme/", "..", "a/b/c", "x" * 101, "wid\u200bgets"])
def test_only_names_that_a_repository_can_have_are_created(publisher: Caller, name: str) -> None:
    answer = publisher.post("/v1/events", {**EVENT, "repository": name})

    assert (answer.status_code, list(faults(answer)), names()) == (422, ["repository"], [])


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ([EVENT, {"type": "no type", "data": 1}], {}),
        ([{**EVENT, "id": "1"}, {**EVENT, "id": "1"}], {}),
        (EVENT, {"Idempotency-Key": "\u00e9" * 300}),
        ([EVENT, {**EVENT, "repository": "a b"}], {}),
    ],
    ids=["another event is wrong", "an id is used twice", "a wrong header", "another name is wrong"],
)
def test_a_request_that_is_refused_creates_nothing(publisher: Caller, body: object, headers: dict[str, str]) -> None:
    answer = publisher.post("/v1/events", body, headers=headers)

    assert (answer.status_code, names(), Event.objects.count()) == (422, [], 0)


def test_no_more_are_created_than_an_organization_may_have(publisher: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "MAX_REPOSITORIES", 2)
    batch = [{**EVENT, "repository": name} for name in ("a", "b", "c")]

    too_many = publisher.post("/v1/events", batch)
    enough = publisher.post("/v1/events", batch[:2])
    one_more = publisher.post("/v1/events", batch[2])

    assert [answer.status_code for answer in (too_many, enough, one_more)] == [422, 202, 422]
    assert names() == ["a", "b"]


def test_one_request_creates_a_bounded_number(publisher: Caller) -> None:
    answer = publisher.post("/v1/events", [{**EVENT, "repository": f"r{number}"} for number in range(101)])

    assert (answer.status_code, len(faults(answer)), names()) == (422, 100, [])


@pytest.mark.django_db(transaction=True)
def test_first_events_that_come_together_create_one_repository(publisher: Caller) -> None:
    together = threading.Barrier(4)
    statuses = []

    def publish() -> None:
        together.wait()
        statuses.append(
            Caller(publisher.key).post("/v1/events", [EVENT, {**EVENT, "repository": "gadgets"}]).status_code
        )
        connection.close()

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (statuses, names(), Event.objects.count()) == ([202] * 4, ["gadgets", "widgets"], 8)


def test_a_repository_that_another_request_created_meanwhile_is_no_reason_to_refuse(acme: Organization) -> None:
    repository = Repository.objects.create(organization=acme, name="widgets")

    # As a request calls them that found no repository of this name a moment before.
    assert repositories.creatable({"widgets", "Widgets"}, organization=acme) == set()
    assert repositories.creatable({"widgets"}, organization=acme) == {"widgets"}
    assert repositories.in_another_case({"widgets"}, organization=acme) == {}
    assert repositories.create({"widgets"}, organization=acme, now=acme.created_at) == {"widgets": repository.pk}


def test_the_first_entry_of_a_stream_creates_its_repository(acme: Organization) -> None:
    content = b'{"type": "push", "data": 1, "repository": "acme/widgets", "id": "1"}'
    entry = Entry("1772600000000-0", (b"event", content))

    refused, _ = store([ParsedEntry(entry, "acme", read(content, "application/json"))], now=acme.created_at)

    assert (refused, names()) == ([], ["widgets"])


def test_the_setting_is_one_of_the_api(organization: Organization) -> None:
    api = Caller.of(organization)

    before = api.get("/v1/organizations/acme").json()["create_repositories"]
    after = api.patch("/v1/organizations/acme", {"create_repositories": True}).json()["create_repositories"]

    assert (before, after) == (False, True)


# Validation without publishing ---------------------------------------------------------------------------------------


def test_validating_says_what_publishing_would_and_publishes_nothing(
    organization: Organization, repository: Repository
) -> None:
    publisher = Caller.of(organization, Scope.PUBLISH)

    good = publisher.post("/v1/events/validate", [{**EVENT, "repository": repository.name}])
    unknown = publisher.post("/v1/events/validate", {**EVENT, "repository": "acme/nowhere"})
    wrong = publisher.post("/v1/events/validate", {"type": "no type"})
    reader = Caller.of(organization, Scope.READ).post("/v1/events/validate", EVENT)

    assert (good.status_code, good.json()) == (200, {"valid": True, "organization": "acme", "events": 1})
    assert (unknown.status_code, list(faults(unknown))) == (422, ["repository"])
    assert (wrong.status_code, sorted(faults(wrong))) == (422, ["data", "type"])
    assert (reader.status_code, Event.objects.count()) == (403, 0)


def test_validating_creates_no_repository(publisher: Caller) -> None:
    answer = publisher.post("/v1/events/validate", EVENT)

    assert (answer.status_code, names()) == (200, [])

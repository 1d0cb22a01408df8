"""Names that differ only in case are the same name, however a row is created or renamed."""

import threading
from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client

from deliveries import names
from deliveries.models import AuditEntry, Event, Organization, Repository
from hookhub.models import ApiKey, Scope
from hookhub.publishing import repositories
from hookhub.publishing.parse import read
from hookhub.publishing.redis_stream.entries import Entry, ParsedEntry
from hookhub.publishing.redis_stream.ingest import store
from tests.api import Caller, faults
from tests.integration.test_admin_access import path_of

pytestmark = pytest.mark.django_db

EVENT = {"type": "push", "data": 1}


def all_names() -> list[str]:
    return sorted(Repository.objects.values_list("name", flat=True))


@pytest.fixture
def superuser(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("op", "op@example.com"))
    return client


@pytest.fixture
def creating(repository: Repository) -> Caller:
    """Return a publisher whose events create repositories; acme/widgets exists."""
    Organization.objects.update(create_repositories=True)
    return Caller.of(Organization.objects.get(), Scope.PUBLISH)


# Events ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/validate"])
def test_the_first_event_about_a_name_in_another_case_creates_no_second_repository(creating: Caller, path: str) -> None:
    one = creating.post(path, {**EVENT, "repository": "acme/WIDGETS"})
    batch = creating.post(path, [{**EVENT, "repository": "new"}, {**EVENT, "repository": "Widgets"}])

    said = "differs from widgets only in case; use the same spelling"
    assert (one.status_code, faults(one)) == (422, {"repository": said})
    assert (batch.status_code, faults(batch)) == (422, {"events[1].repository": said})
    assert (all_names(), Event.objects.count()) == (["widgets"], 0)


def test_two_first_events_of_a_request_whose_names_differ_in_case_only_create_nothing(creating: Caller) -> None:
    answer = creating.post("/v1/events", [{**EVENT, "repository": name} for name in ("new", "New", "other")])

    assert (answer.status_code, faults(answer)) == (
        422,
        {
            "events[0].repository": "differs from New only in case; use the same spelling",
            "events[1].repository": "differs from new only in case; use the same spelling",
        },
    )
    assert (all_names(), Event.objects.count()) == (["widgets"], 0)


def test_an_entry_of_the_stream_about_a_name_in_another_case_is_refused_and_its_neighbour_is_not(
    creating: Caller,
) -> None:
    del creating
    organization = Organization.objects.get()
    contents = [b'{"type": "push", "data": 1, "repository": "%s"}' % name for name in (b"WIDGETS", b"new")]
    entries = [
        ParsedEntry(Entry(f"1772600000000-{number}", (b"event", content)), "acme", read(content, "application/json"))
        for number, content in enumerate(contents)
    ]

    [refused], _ = store(entries, now=organization.created_at)

    assert refused.entry.id == "1772600000000-0"
    assert "repository: differs from widgets only in case; use the same spelling" in refused.error
    assert (all_names(), Event.objects.count()) == (["new", "widgets"], 1)


def test_without_the_setting_an_event_about_a_name_in_another_case_is_told_how_it_is_written(
    organization: Organization, repository: Repository
) -> None:
    answer = Caller.of(organization, Scope.PUBLISH).post("/v1/events", {**EVENT, "repository": "Widgets"})

    assert faults(answer) == {"repository": "differs from widgets only in case; use the same spelling"}
    assert Event.objects.count() == 0


def test_a_name_that_is_taken_in_another_case_while_events_create_theirs_leaves_nothing_behind(
    creating: Caller, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    """As when a repository is created by hand between the lookup and the insert."""
    organization, entries = Organization.objects.get(), AuditEntry.objects.count()
    monkeypatch.setattr(repositories, "in_any_case", lambda *_, **__: {})

    found = repositories.create({"another", "widgets", "WIDGETS"}, organization=organization, now=now)

    assert found == {"widgets": Repository.objects.get().pk}
    assert AuditEntry.objects.count() == entries
    assert creating.post("/v1/events", {**EVENT, "repository": "WIDGETS"}).status_code == 422
    assert all_names() == ["widgets"]


# The admin ------------------------------------------------------------------------------------------------------------


def errors(answer: Any) -> dict[str, list[str]]:
    return {name: list(found) for name, found in answer.context["adminform"].form.errors.items()}


def test_the_admin_refuses_a_name_in_another_case_beside_its_field(superuser: Client, repository: Repository) -> None:
    gadgets = Repository.objects.create(organization=repository.organization, name="gadgets")
    new = {"organization": repository.organization_id, "private": "on"}

    added = superuser.post(f"{path_of(Repository)}add/", {**new, "name": "Widgets"})
    renamed = superuser.post(f"{path_of(Repository)}{gadgets.pk}/change/", {"name": "WIDGETS", "private": "on"})
    same = superuser.post(f"{path_of(Repository)}{gadgets.pk}/change/", {"name": "widgets", "private": "on"})
    slug = superuser.post(f"{path_of(Organization)}add/", {"slug": "ACME", "default_dialect": "native"})

    said = "This name differs from widgets only in case; choose another."
    assert (errors(added), errors(renamed)) == ({"name": [said]}, {"name": [said]})
    assert errors(same) == {"name": ["This name is already taken; choose another."]}
    assert errors(slug) == {"slug": ["This name differs from acme only in case; choose another."]}
    assert (all_names(), Organization.objects.count()) == (["gadgets", "widgets"], 1)


def test_a_row_may_be_written_in_another_case_itself(superuser: Client, repository: Repository) -> None:
    page = f"{path_of(Repository)}{repository.pk}/change/"

    assert superuser.post(page, {"name": "Widgets", "private": "on"}).status_code == 302
    assert all_names() == ["Widgets"]


def test_the_same_name_of_another_organization_is_free(superuser: Client, repository: Repository) -> None:
    other = Organization.objects.create(slug="other")

    answer = superuser.post(f"{path_of(Repository)}add/", {"organization": other.pk, "name": "Widgets"})

    assert (answer.status_code, all_names()) == (302, ["Widgets", "widgets"])


def test_a_name_that_is_taken_after_the_admins_form_has_looked_is_a_message_and_no_error_page(
    superuser: Client, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "name_error", lambda *_: None)
    new = {"organization": repository.organization_id, "name": "Widgets"}

    answer = superuser.post(f"{path_of(Repository)}add/", new, follow=True)

    assert [str(message) for message in answer.context["messages"]] == ["This name is already taken; choose another."]
    assert all_names() == ["widgets"]


# Commands and the git hook --------------------------------------------------------------------------------------------


def test_a_command_creates_no_organization_whose_name_differs_in_case_only(organization: Organization) -> None:
    words = ("create_api_key", "--create-organization", "--organization")

    with pytest.raises(CommandError) as refused:
        call_command(*words, "ACME", stdout=StringIO(), stderr=StringIO())

    assert str(refused.value) == "--organization: ACME differs from acme only in case; choose another."
    assert (Organization.objects.count(), ApiKey.objects.count()) == (1, 0)
    call_command(*words, "acme", stdout=StringIO(), stderr=StringIO())
    assert (Organization.objects.count(), ApiKey.objects.count()) == (1, 1)


# The database ---------------------------------------------------------------------------------------------------------


def test_the_database_itself_refuses_names_that_differ_in_case_only(repository: Repository) -> None:
    gadgets = Repository.objects.create(organization=repository.organization, name="gadgets")
    for attempt, field in (
        (lambda: Repository.objects.create(organization=repository.organization, name="Widgets"), "name"),
        (lambda: Repository.objects.filter(pk=gadgets.pk).update(name="WIDGETS"), "name"),
        (lambda: Organization.objects.create(slug="Acme"), "slug"),
    ):
        with pytest.raises(IntegrityError) as refused, transaction.atomic():
            attempt()
        assert names.violated_field(refused.value) == field


@pytest.mark.django_db(transaction=True)
def test_of_requests_that_create_names_in_another_case_at_once_one_wins(organization: Organization) -> None:
    api, together, statuses = Caller.of(organization), threading.Barrier(4), []

    def create_one(name: str) -> None:
        together.wait()
        statuses.append(Caller(api.key).post("/v1/repositories", {"name": name}).status_code)
        connection.close()

    threads = [threading.Thread(target=create_one, args=(name,)) for name in ("new", "New", "NEW", "nEw")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (sorted(statuses), Repository.objects.count()) == ([201, 409, 409, 409], 1)

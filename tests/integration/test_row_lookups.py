"""Queries for one row that are compiled once."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.db.models import Expression, Model, QuerySet
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from deliveries.db.lookups import Lookup
from deliveries.models import Organization, Repository
from hookhub import portal_sessions
from hookhub.http import authentication
from hookhub.models import ApiKey, PortalSession
from tests.api import Caller
from tests.story import Forge, together


def columns(row: Model) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_a_lookup_finds_what_the_query_finds_with_what_it_selects_by_one_statement(
    caller: Caller, other: Caller
) -> None:
    for key in ApiKey.objects.select_related("organization"):
        with CaptureQueriesContext(connection) as queries:
            found = authentication.find(key.key_id)
            assert found is not None
            assert found.organization is not None

        assert columns(found) == columns(key)
        assert columns(found.organization) == columns(key.organization)  # type: ignore[arg-type]  # Each has one.
        assert len(queries) == 1
    assert authentication.find("0" * 12) is None


def test_columns_with_a_type_of_their_own_are_converted(organization: Organization) -> None:
    organization.limits = {"webhooks": 7}
    organization.save()
    find = Lookup(lambda slug: Organization.objects.filter(slug=slug), "slug")

    found = find(slug="acme")

    assert found is not None
    assert (found.limits, found._state.adding) == ({"webhooks": 7}, False)
    found.name = "Acme"
    found.save()
    assert columns(Organization.objects.get()) == columns(found)


def test_what_a_query_leads_to_may_be_missing(forge: Forge, now: datetime) -> None:
    wanted = portal_sessions.NewSession(forge.organization, PortalSession.Role.READ, portal_sessions.DEFAULT_LENGTH)
    _, token = portal_sessions.create(wanted, now=now)
    opened = portal_sessions.open_by(token, now=now)
    assert opened is not None

    with CaptureQueriesContext(connection) as queries:
        found = portal_sessions.find(opened[1], now=now)
        assert found is not None
        assert found.repository is None

    assert (found.organization, len(queries)) == (forge.organization, 1)
    assert portal_sessions.find(opened[1], now=found.expires_at) is None


def test_it_is_compiled_once_also_with_values_of_its_own(repository: Repository, other: Caller) -> None:
    asked = []

    def rows(organization: Expression, name: Expression) -> QuerySet[Repository]:
        asked.append(name)
        return Repository.objects.filter(organization_id=organization, private=True, name=name)

    find = Lookup(rows, "organization", "name")

    assert find(organization=repository.organization_id, name="widgets") == repository
    assert find(organization=repository.organization_id, name="gadgets") is None
    assert find(organization=repository.organization_id + 1, name="widgets") is None
    Repository.objects.update(private=False)
    assert find(organization=repository.organization_id, name="widgets") is None
    assert len(asked) == 1


def test_times_have_a_zone_also_once_the_project_has_another_and_none_in_its_times(
    organization: Organization, settings: Settings
) -> None:
    find = Lookup(lambda slug: Organization.objects.filter(slug=slug), "slug")
    before = find(slug="acme")
    assert before is not None

    settings.TIME_ZONE = "Asia/Tokyo"
    settings.USE_TZ = False

    found = find(slug="acme")
    assert found is not None
    assert (found.created_at, found.created_at.tzinfo) == (before.created_at, UTC)


@pytest.mark.django_db(transaction=True)
def test_threads_share_it_and_not_the_connection() -> None:
    slugs = [f"org-{number}" for number in range(4)]
    Organization.objects.bulk_create([Organization(slug=slug) for slug in slugs])
    find = Lookup(lambda slug: Organization.objects.filter(slug=slug), "slug")

    def look_up(slug: str) -> Callable[[], Any]:
        return lambda: {getattr(find(slug=slug), "slug", None) for _ in range(50)}

    assert together(*map(look_up, slugs)) == [{slug} for slug in slugs]

"""Booleans of the API are true or false; a string or number that looks like one is rejected."""

import pytest

from deliveries.models import Organization, Repository
from tests.api import Caller, faults

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("value", ["no", "true", 0, 1, "", []])
def test_what_only_looks_like_a_boolean_is_refused(api: Caller, repository: Repository, value: object) -> None:
    answer = api.patch("/v1/repositories/widgets", {"private": value})

    assert (answer.status_code, list(faults(answer))) == (422, ["private"])
    assert Repository.objects.get().private is True


@pytest.mark.parametrize("name", ["validate_events", "create_repositories"])
def test_an_organizations_booleans_are_strict_too(api: Caller, organization: Organization, name: str) -> None:
    answer = api.patch("/v1/organizations/acme", {name: 1})

    assert (answer.status_code, list(faults(answer))) == (422, [name])
    assert api.patch("/v1/organizations/acme", {name: True}).json()[name] is True

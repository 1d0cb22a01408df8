"""What Django rejects before any view is called has the API's error shape, except on pages of the admin."""

from typing import Any

import pytest
from django.core.exceptions import RequestDataTooBig
from django.test import Client, RequestFactory
from pytest_django import Settings

from deliveries.models import Organization
from hookhub.http import errors
from tests.api import Caller

pytestmark = pytest.mark.django_db
EVENT = {"type": "push", "data": 1}


def error_of(answer: Any) -> tuple[int, str, list[Any]]:
    error = answer.json()["error"]
    assert error["message"]
    return answer.status_code, error["code"], error["fields"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/organizations", "/nowhere", "/repos/acme/widgets", "/api/x"])
def test_a_host_that_is_not_served_gets_the_one_shape(
    organization: Organization, settings: Settings, path: str
) -> None:
    settings.ALLOWED_HOSTS = ["hooks.example.org"]

    answer = Caller.of(organization).post(path, EVENT, headers={"Host": "evil.example"})

    assert error_of(answer) == (400, "unknown_host", [])
    assert "Unknown host 'evil.example'" in answer.json()["error"]["message"]


def test_the_admins_pages_stay_pages(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["hooks.example.org"]

    answer = Client(raise_request_exception=False).get(
        "/admin/login/", headers={"Host": "evil.example", "Accept": "text/html,*/*"}
    )

    assert (answer.status_code, answer["Content-Type"]) == (400, "text/html; charset=utf-8")


def test_a_form_without_its_token_gets_the_one_shape_and_a_page_in_the_admin() -> None:
    client = Client(enforce_csrf_checks=True)

    api = client.post("/v1/auth/login/", {"username": "a", "password": "b"})
    admin = client.post("/admin/login/", {"username": "a", "password": "b"})

    assert error_of(api) == (403, "forbidden", [])
    assert (admin.status_code, admin["Content-Type"]) == (403, "text/html; charset=utf-8")


def test_people_that_log_in_get_pages() -> None:
    client = Client(enforce_csrf_checks=True)
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    outdated = client.post("/v1/auth/login/", {"username": "a", "password": "b"}, headers=browser)
    in_two_steps = errors.csrf_failure(RequestFactory().post("/accounts/login/"))

    for answer in (outdated, in_two_steps):
        assert (answer.status_code, answer["Content-Type"]) == (403, "text/html; charset=utf-8")
        assert b"This form could not be submitted" in answer.content


def test_a_form_of_too_many_fields_gets_the_one_shape(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 3

    answer = Client().post("/v1/auth/login/", {f"field{number}": "x" for number in range(9)})

    assert error_of(answer) == (400, "malformed", [])


def test_a_request_that_is_too_big_for_django_is_413_in_the_one_shape() -> None:
    answer = errors.malformed_request(RequestFactory().get("/v1/events"), RequestDataTooBig("secret"))

    assert answer.status_code == 413
    assert b'"code": "too_large"' in answer.content
    assert b"secret" not in answer.content

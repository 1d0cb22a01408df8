"""Whatever is sent to the portal, a person gets a page: also where other paths answer in JSON, or with nothing."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from hookhub.portal import views
from tests.api import Caller
from tests.pages import breaches
from tests.portal import visitor
from tests.story import Forge

pytestmark = pytest.mark.django_db

LONG = "&a=1" * 1001


def is_page(answer: Any, *, status: int) -> str:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert breaches(answer.content.decode(), answer["Content-Security-Policy"]) == []
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"
    return str(answer.content.decode())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"members?{LONG}", 400),
        (f"?{LONG}", 400),
        (f"enter?token=x{LONG}", 400),
        ("deliveries?text=%FF", 422),
        ("deliveries?text=%00", 422),
        ("members?next=%ED%A0%80", 422),
        ("%00", 404),
        ("event-types/%FF", 401),
        ("leave", 405),
        ("nowhere/" + "x" * 5000, 401),
    ],
)
def test_a_visitor_without_a_session_gets_a_page(path: str, status: int) -> None:
    answer = Client(raise_request_exception=False).get(f"/portal/{path}")

    is_page(answer, status=status)


@pytest.mark.parametrize("path", [f"?{LONG}", f"deliveries?{LONG}", f"members?{LONG}", f"activity?{LONG}"])
def test_too_long_a_query_is_refused_by_a_page_in_the_browsers_language(forge: Forge, path: str) -> None:
    browser = visitor(Caller.of(forge.organization))
    browser.force_login(User.objects.create_user("ada"))

    page = is_page(browser.get(f"/portal/{path}", headers={"Accept-Language": "de"}), status=400)

    assert "Diese Anfrage kann nicht gelesen werden" in page
    assert 'lang="de"' in page


def test_a_form_with_too_many_fields_is_refused_by_a_page(forge: Forge, settings: Settings) -> None:
    browser = visitor(Caller.of(forge.organization))
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 3

    is_page(browser.post("/portal/webhooks/new", {f"field{n}": "x" for n in range(9)}), status=400)


def test_a_cookie_with_nul_is_refused_by_a_page() -> None:
    is_page(Client().get("/portal/", headers={"Cookie": 'hookhub_portal="a\\000"'}), status=422)


def test_a_login_without_its_token_is_refused_by_a_page() -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_user("ada"))

    assert "This form cannot be used" in is_page(browser.post("/portal/members", {"organization": "x"}), status=403)


def test_an_address_that_asks_too_often_gets_a_page_that_says_when_to_come_back(settings: Settings) -> None:
    settings.HOOKHUB_REQUESTS_PER_ADDRESS = 1
    Client().get("/portal/")

    answer = Client().get("/portal/")

    assert "Too many requests" in is_page(answer, status=429)
    assert int(answer["Retry-After"]) > 0


def test_a_failure_is_a_page_too(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = visitor(Caller.of(forge.organization))
    browser.raise_request_exception = False

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(views.timeseries, "hourly_counts", fail)

    assert "Something went wrong" in is_page(browser.get("/portal/"), status=500)


@pytest.mark.parametrize("path", ["/v1/webhooks", "/nowhere", "/api/x"])
def test_programs_get_json_as_before(path: str) -> None:
    answer = Client().get(f"{path}?{LONG}")

    assert answer["Content-Type"].startswith("application/json")

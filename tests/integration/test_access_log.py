"""The access log, request ids, and malformed requests."""

import json
import logging
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from hookhub.models import Scope
from tests.api import Caller, faults

pytestmark = pytest.mark.django_db


@pytest.fixture
def lines(settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Any:
    settings.HOOKHUB_ACCESS_LOG = True
    monkeypatch.setattr(logging.getLogger("hookhub.access"), "propagate", True)
    caplog.set_level(logging.INFO, "hookhub.access")
    return lambda: [json.loads(each.getMessage()) for each in caplog.records if each.name == "hookhub.access"]


def test_a_request_is_one_line_without_anything_secret(api: Caller, lines: Any) -> None:
    answer = api.client.get(
        "/v1/webhooks?repository=x&token=s3cret&limit=5", headers={**api.headers, "X-Request-Id": "given-1"}
    )

    [line] = lines()
    took = line.pop("ms")
    assert took > 0
    assert line == {
        "method": "GET", "path": "/v1/webhooks", "status": 422, "bytes": len(answer.content), "address": "127.0.0.1",
        "request_id": "given-1", "query": "repository=x&token=***&limit=5", "key": api.key.split("_")[1],
        "organization": "acme",
    }  # fmt: skip
    assert answer.headers["X-Request-Id"] == "given-1"


@pytest.mark.parametrize("accept", ["*/*", "application/json;q=1"], ids=["the fast path", "the long path"])
def test_publishing_is_logged_on_both_paths(organization: Any, lines: Any, accept: str) -> None:
    publisher = Caller.of(organization, Scope.PUBLISH, accept=accept)

    publisher.post("/v1/events", {"type": "push", "data": 1})

    [line] = lines()
    assert (line["status"], line["key"], line["organization"]) == (202, publisher.key.split("_")[1], "acme")


def test_a_person_is_named_and_a_probe_is_not_logged(lines: Any) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("mona"))

    client.get("/healthz")
    client.get("/admin/")

    assert [(line["path"], line.get("user")) for line in lines()] == [("/admin/", "mona")]


def test_nothing_is_logged_where_it_is_switched_off(api: Caller, lines: Any, settings: Settings) -> None:
    settings.HOOKHUB_ACCESS_LOG = False
    api.get("/v1/webhooks")

    assert lines() == []


@pytest.mark.parametrize("given", ["", "a b", "x" * 101, 'a"b', "é"])
def test_an_id_that_could_spoil_a_log_is_replaced(given: str) -> None:
    answer = Client().get("/v1/meta", headers={"X-Request-Id": given})

    assert answer.headers["X-Request-Id"] != given
    assert len(answer.headers["X-Request-Id"]) == 16


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("type=%00", "type"), ("a=1&cursor=x%00", "cursor"), ("%00=1", "query"), ("type=%ff", "type"),
        ("type=%ed%a0%80", "type"), ("%c3=1", "�"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("address", ["/v1/events", "/admin/deliveries/webhook/", "/admin/autocomplete/", "/nowhere"])
def test_a_query_that_no_text_can_hold_is_refused_everywhere(api: Caller, query: str, name: str, address: str) -> None:
    staff = Client(raise_request_exception=False)
    staff.force_login(User.objects.create_superuser("mona"))

    answer = staff.get(f"{address}?{query}", headers=api.headers)

    assert (answer.status_code, list(faults(answer))) == (422, [name])


@pytest.mark.parametrize(
    "address",
    [
        "/v1/repositories/%00", "/v1/api-keys/%00", "/v1/event-types/%00", "/v1/webhooks/%00", "/v1/organizations/a%00",
        "/repos/acme/%00/hooks", "/api/repositories/%00/x/webhooks", "/admin/deliveries/webhook/%00/change/",
    ],
)  # fmt: skip
def test_a_path_with_a_nul_leads_nowhere(api: Caller, address: str) -> None:
    answer = api.get(address)

    found = answer.json()
    # In the error shape of the API that the path belongs to.
    words = found.get("message") or (found["error"] if isinstance(found["error"], str) else found["error"]["code"])
    assert (answer.status_code, words.lower().replace(" ", "_")) == (404, "not_found")


def test_what_is_merely_unusual_in_a_query_is_read(api: Caller) -> None:
    assert api.get("/v1/events?type=%zz").status_code == 200
    assert api.get("/v1/events?type=caf%C3%A9").status_code == 200

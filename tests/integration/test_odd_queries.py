"""URLs that vulnerability scanners request."""

import json
import re
from contextlib import closing
from uuid import uuid4

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.translation import trans_real
from drf_spectacular.generators import SchemaGenerator

from hookhub.api import meta
from hookhub.server.limits import Limits
from hookhub.server.wsgi import Limited
from hookhub.service.wsgi import django as application
from tests.api import Caller, faults
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("hours", ["000001999999999999", "9" * 5000, "-1", "1e3"])
def test_statistics_of_more_hours_than_there_are_are_refused(api: Caller, receiver: Receiver, hours: str) -> None:
    uid = api.post("/v1/webhooks", {"url": receiver.url(), "events": ["*"]}).json()["id"]

    answer = api.get(f"/v1/webhooks/{uid}/stats?hours={hours}")

    assert (answer.status_code, faults(answer)) == (422, {"hours": "must be an integer from 1 to 2160"})


@pytest.mark.parametrize("query", ["", "?format=api", "?format=json"])
def test_the_documentation_is_found_in_every_format_that_is_asked_for(api: Caller, query: str) -> None:
    answer = Client().get(f"/v1/docs{query}", headers=api.headers)

    assert (answer.status_code, answer["Content-Type"].partition(";")[0]) == (200, "text/html")


@pytest.mark.parametrize("name", ["x" * 3000, "nothing.js", ".", ".."])
def test_a_file_that_the_documentation_does_not_have_is_not_found(name: str) -> None:
    with closing(Client().get("/v1/docs/swagger-ui.css")) as there:
        assert there.status_code == 200
    assert Client().get(f"/v1/docs/{name}").status_code == 404


def test_a_request_with_a_byte_order_mark_is_read(api: Caller) -> None:
    made = api.post("/v1/repositories", b"\xef\xbb\xbf" + b'{"name":"gadgets"}')

    assert (made.status_code, made.json()["name"]) == (201, "gadgets")


def test_the_openapi_document_is_made_once_whatever_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    meta._made.cache_clear()
    made: list[None] = []
    make = SchemaGenerator.get_schema
    monkeypatch.setattr(SchemaGenerator, "get_schema", lambda *told, **more: made.append(None) or make(*told, **more))
    languages = set(trans_real._translations)

    plain = Client().get("/v1/openapi.json")
    queries = ("version=%0a", "version=%0d%0aX:1", "version=2", "lang=xx", "lang=de")
    answers = [Client().get(f"/v1/openapi.json?{query}") for query in queries]

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, plain.content)}
    assert plain["Content-Disposition"] == 'inline; filename="HookHub.json"'
    assert len(made) == 1
    # Django caches what it reads of a language for the lifetime of the process.
    assert set(trans_real._translations) == languages


@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST"])
def test_a_path_without_a_slash_leads_nowhere(method: str) -> None:
    answer = Client().request(PATH_INFO="*", REQUEST_METHOD=method)

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_every_address_of_the_api_answers_options(api: Caller) -> None:
    document = Client().get("/v1/openapi.json").json()

    answers = {path: api.send("OPTIONS", re.sub(r"{\w+}", str(uuid4()), path), {}) for path in document["paths"]}

    assert {path: answer.status_code for path, answer in answers.items() if answer.status_code >= 500} == {}
    assert answers["/v1/webhooks/{uid}/consumers/{name}"].json()["description"].startswith("Commit up to where")


@pytest.mark.parametrize("address", ["/admin/", "/admin/login/", "/v1/auth/login/", "/v1/webhooks"])
def test_a_cookie_that_spells_nul_is_refused(address: str) -> None:
    answer = Client().get(address, headers={"Cookie": 'sessionid="abcdefghijklmnopqrstuvwxyzabcdef\\000"'})

    assert (answer.status_code, faults(answer)) == (422, {"Cookie": "must not contain a NUL character"})


@pytest.mark.parametrize("charset", ["base64", "undefined", "punycode", "utf-16", "no such charset", "utf-8"])
@pytest.mark.parametrize(
    ("query", "answered"),
    [
        pytest.param("organization=acme", ("405 Method Not Allowed", "method_not_allowed"), id="a query"),
        pytest.param("&a=1" * 1001, ("400 Bad Request", "malformed"), id="too long a query"),
    ],
)
def test_a_media_type_names_no_codec_to_read_the_query_by(charset: str, query: str, answered: tuple[str, str]) -> None:
    statuses: list[str] = []
    environ = RequestFactory().post("/v1/", b"{}", content_type="application/json").environ
    environ |= {"CONTENT_TYPE": f"application/json; charset={charset}", "QUERY_STRING": query}
    limited = Limited(application, limits=Limits(publish=1_000_000))

    content = b"".join(limited(environ, lambda status, *_: statuses.append(status)))

    assert (*statuses, json.loads(content)["error"]["code"]) == answered


@pytest.mark.parametrize(
    "value", ["9999999", "", "2026-01-01", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "٣", "[", "a\nb"]
)
def test_each_form_of_the_admin_opens_with_any_text_in_any_field(admin_client: Client, value: str) -> None:
    opened = 0
    for model in admin.site._registry:
        add = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
        filled = dict.fromkeys((field.name for field in model._meta.get_fields()), value)
        answer = admin_client.get(add, filled)
        assert answer.status_code in {200, 403}, add
        opened += answer.status_code == 200
    assert opened >= 8

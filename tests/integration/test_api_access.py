"""Authentication and permissions of the API, and what unauthorized callers see."""

import json
import os
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from deliveries.models import Organization, Repository
from hookhub.models import ApiKey, Membership, Scope
from tests.api import Caller, faults
from tests.story import ReadOnly

pytestmark = pytest.mark.django_db

WEBHOOK = {"url": "http://127.0.0.1:9999/", "events": ["*"]}
EVENT = {"type": "push", "data": 1}


@pytest.mark.parametrize(
    "header",
    [None, "Bearer", "Bearer x", "Basic YTpi", "Bearer hh_000000000000_" + "a" * 43, "Bearer hh_é", "bearer\x01"],
)
@pytest.mark.parametrize("address", ["/v1/events", "/v1/webhooks", "/v1/organizations", "/v1/deliveries"])
def test_without_a_valid_key_everything_is_401(organization: Organization, address: str, header: str | None) -> None:
    answer = Client().get(address, headers={} if header is None else {"Authorization": header})

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="hookhub"'


def test_a_revoked_key_is_shut_out_at_once_and_its_use_was_noted(api: Caller) -> None:
    assert api.get("/v1/webhooks").status_code == 200
    used_at = ApiKey.objects.get().last_used_at
    ApiKey.objects.update(revoked_at=timezone.now())

    assert (api.get("/v1/webhooks").status_code, used_at is not None) == (401, True)


def test_of_a_key_only_a_hash_is_stored(api: Caller) -> None:
    secret = api.key.rpartition("_")[2]

    assert secret not in json.dumps(list(ApiKey.objects.values()), default=str)


ALLOWED = {
    Scope.MASTER: {"read", "publish", "manage", "master"},
    Scope.MANAGE: {"read", "publish", "manage"},
    Scope.PUBLISH: {"publish"},
    Scope.READ: {"read"},
}


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_opens_its_doors_and_no_others(organization: Organization, scope: Scope) -> None:
    caller = Caller.of(organization, scope)
    tries = {
        "read": caller.get("/v1/deliveries"),
        "publish": caller.post("/v1/events", EVENT),
        "manage": caller.post("/v1/webhooks", WEBHOOK),
        "master": caller.patch("/v1/organizations/acme", {"name": "Acme Inc."}),
    }

    assert {name for name, answer in tries.items() if answer.status_code < 300} == ALLOWED[scope]
    assert {answer.status_code for name, answer in tries.items() if name not in ALLOWED[scope]} <= {403}


def test_anothers_objects_are_404_by_every_method(api: Caller, other: Caller, repository: Repository) -> None:
    webhook = api.post("/v1/webhooks", WEBHOOK).json()["id"]
    event = api.post("/v1/events", EVENT).json()["id"]
    delivery = api.post(f"/v1/webhooks/{webhook}/ping").json()["id"]
    replay = api.post("/v1/replays", {"state": "failed"}).json()["id"]
    doors = [
        ("GET", f"/v1/webhooks/{webhook}"), ("PATCH", f"/v1/webhooks/{webhook}"), ("DELETE", f"/v1/webhooks/{webhook}"),
        *[("POST", f"/v1/webhooks/{webhook}/{deed}") for deed in ("enable", "disable", "rotate-secret", "ping")],
        ("GET", f"/v1/webhooks/{webhook}/stats"), ("GET", f"/v1/events/{event}"), ("GET", f"/v1/deliveries/{delivery}"),
        ("POST", f"/v1/deliveries/{delivery}/redeliver"), ("POST", f"/v1/deliveries/{delivery}/cancel"),
        ("GET", f"/v1/replays/{replay}"), ("POST", f"/v1/replays/{replay}/cancel"), ("GET", "/v1/organizations/acme"),
        ("PATCH", "/v1/organizations/acme"), ("GET", "/v1/repositories/widgets"),
        ("DELETE", "/v1/repositories/widgets"),
        ("GET", "/v1/webhooks?organization=acme"), ("POST", "/v1/webhooks?organization=acme"),
        ("POST", "/v1/events?organization=acme"), ("GET", "/v1/deliveries?organization=acme"),
    ]  # fmt: skip

    answers = {door: other.send(*door, EVENT if "events" in door[1] else {}) for door in doors}

    assert {door: answer.status_code for door, answer in answers.items()} == dict.fromkeys(doors, 404)
    assert len({answer.content for answer in answers.values()}) == 1
    assert api.get(f"/v1/webhooks/{webhook}").json()["active"] is True


@pytest.mark.parametrize("word", ["x", "0", "%00", "9" * 50, "' OR 1=1", "019cb8b8-1e00-753a-a23d-b63dc6d7ef09"])
@pytest.mark.parametrize("noun", ["webhooks", "events", "deliveries", "replays", "organizations", "repositories"])
def test_an_id_that_leads_nowhere_is_404(api: Caller, noun: str, word: str) -> None:
    assert api.get(f"/v1/{noun}/{word}").status_code == 404


def test_only_the_operator_creates_organizations(api: Caller, operator: Caller) -> None:
    wanted = {"slug": "new", "name": "New"}

    refused, created, again = (caller.post("/v1/organizations", wanted) for caller in (api, operator, operator))

    assert (refused.status_code, created.status_code, again.status_code) == (403, 201, 409)
    row = created.json()
    assert (row["default_dialect"], row["default_format"], row["validate_events"]) == ("native", None, False)
    assert {row["slug"] for row in operator.get("/v1/organizations").json()["results"]} == {"acme", "new"}
    assert [row["slug"] for row in api.get("/v1/organizations").json()["results"]] == ["acme"]


@pytest.mark.parametrize("slug", ["", "a b", "a/b", "x" * 101, "é", "a\0", None, ["a"]])
def test_an_organization_with_a_strange_name_is_refused(operator: Caller, slug: Any) -> None:
    answer = operator.post("/v1/organizations", {"slug": slug})

    assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, "slug")


def test_a_repository_has_one_name_once(api: Caller) -> None:
    first, second = (api.post("/v1/repositories", {"name": "gadgets"}) for _ in range(2))

    assert (first.status_code, first.json()["full_name"], second.status_code) == (201, "acme/gadgets", 409)
    assert api.patch("/v1/repositories/gadgets", {"private": False}).json()["private"] is False


def test_keys_are_made_listed_and_revoked_by_a_master_alone(api: Caller, other: Caller) -> None:
    made = api.post("/v1/api-keys", {"name": "CI", "scope": "read"})
    reader = Caller(made.json()["key"])
    address = f"/v1/api-keys/{made.json()['id']}"

    assert (made.status_code, reader.get("/v1/webhooks").status_code) == (201, 200)
    assert [reader.get("/v1/api-keys").status_code, reader.delete(address).status_code] == [403, 403]
    assert [other.get(address).status_code, other.delete(address).status_code] == [404, 404]
    assert {row["scope"] for row in api.get("/v1/api-keys").json()["results"]} == {"master", "read"}
    assert made.json()["key"] not in api.get("/v1/api-keys").content.decode()
    assert (api.delete(address).status_code, reader.get("/v1/webhooks").status_code) == (204, 401)
    assert api.get(address).json()["revoked_at"] is not None


@pytest.mark.parametrize("wanted", [{}, {"scope": "king"}, {"scope": "read", "name": "x" * 201}, {"scope": None}])
def test_a_strange_key_is_refused(api: Caller, wanted: dict[str, Any]) -> None:
    assert api.post("/v1/api-keys", wanted).status_code == 422
    assert ApiKey.objects.count() == 1


def test_people_log_in_and_out_of_the_browsable_api(organization: Organization) -> None:
    user = User.objects.create_user("ada", "ada@example.org", "long enough a password")
    Membership.objects.create(user=user, organization=organization)
    browser = Client()

    before = browser.get("/v1/", headers={"Accept": "text/html"})
    answer = browser.post(
        "/v1/auth/login/?next=/v1/webhooks", {"username": "ada", "password": "long enough a password"}
    )

    assert b"/v1/auth/login/" in before.content
    assert (answer.status_code, answer.headers["Location"]) == (302, "/v1/webhooks")
    assert browser.get("/v1/webhooks", headers={"Accept": "text/html"}).status_code == 200


def test_a_person_comes_in_by_session_with_the_rights_of_the_role(organization: Organization) -> None:
    user = User.objects.create_user("ada", "ada@example.org", "long enough a password")
    Membership.objects.create(user=user, organization=organization, role=Membership.Role.READER)
    browser = Client()
    browser.force_login(user)

    page = browser.get("/v1/webhooks", headers={"Accept": "text/html"})
    created = browser.post("/v1/webhooks", json.dumps(WEBHOOK), content_type="application/json")
    stranger = Client()
    stranger.force_login(User.objects.create_user("eve"))

    assert (page.status_code, created.status_code) == (200, 403)
    assert b"Webhooks" in page.content
    assert stranger.get("/v1/webhooks").status_code == 404


def test_a_session_without_a_csrf_token_changes_nothing(organization: Organization) -> None:
    user = User.objects.create_superuser("root")
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)

    answer = browser.post("/v1/webhooks", json.dumps(WEBHOOK), content_type="application/json")

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_every_error_has_the_one_shape(api: Caller) -> None:
    answers = [
        api.get("/v1/nowhere"),
        api.send("PUT", "/v1/webhooks", {}),
        api.post("/v1/webhooks", b"{"),
        api.post("/v1/webhooks", b"a=b", content_type="application/x-www-form-urlencoded"),
        api.get("/v1/webhooks/x"),
    ]

    assert [answer.status_code for answer in answers] == [404, 405, 400, 415, 404]
    for answer in answers:
        assert set(answer.json()["error"]) == {"code", "message", "fields"}


def test_the_open_doors_need_no_key(db: None) -> None:
    for address in ("/v1/", "/v1/meta", "/v1/event-types", "/v1/openapi.json", "/v1/docs", "/healthz", "/readyz"):
        assert Client().get(address).status_code == 200, address


def test_the_openapi_document_is_valid_and_covers_every_address(db: None) -> None:
    document = Client().get("/v1/openapi.json", headers={"Accept": "application/json"}).json()

    assert document["openapi"].startswith("3.")
    assert "/v1/webhooks/{uid}/rotate-secret" in document["paths"]
    assert set(document["paths"]["/v1/events"]) == {"get", "post"}
    assert "ApiKey" in document["components"]["securitySchemes"]
    # Exits with an error at the first operation that cannot be described.
    call_command("spectacular", "--validate", "--fail-on-warn", file=os.devnull)


def test_a_form_is_no_event_even_with_a_session(organization: Organization) -> None:
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))

    answer = browser.post("/v1/events", {"type": "push"})

    assert answer.status_code == 415


@pytest.mark.parametrize("address", ["/healthz", "/readyz"])
def test_health_is_told_to_probes_that_go_by_address(db: None, settings: Any, address: str) -> None:
    settings.ALLOWED_HOSTS = ["hooks.example.org"]

    assert Client().get(address, headers={"Host": "10.1.2.3"}).json()["status"] == "ok"


def test_a_database_that_is_read_only_is_not_ready_and_one_that_is_so_no_more_is(read_only: ReadOnly) -> None:
    read_only.on()
    answers = [Client().get(address).status_code for address in ("/readyz", "/healthz", "/readyz")]
    read_only.off()
    # The read-only connection of the previous request was closed.
    answers.append(Client().get("/readyz").status_code)

    assert answers == [503, 200, 503, 200]


def test_a_key_that_only_publishes_sees_no_organizations(operator: Caller, organization: Organization) -> None:
    publisher = Caller.of(None, Scope.PUBLISH)

    assert (publisher.get("/v1/organizations").status_code, operator.get("/v1/organizations").status_code) == (403, 200)


@pytest.mark.parametrize(
    ("address", "wanted", "field"),
    [
        ("/v1/organizations", {"slug": "new", "colour": "red"}, "colour"),
        ("/v1/repositories", {"name": "new", "colour": "red"}, "colour"),
        ("/v1/repositories", {"name": "\ud800"}, "name"),
        ("/v1/api-keys", {"scope": "read", "colour": "red"}, "colour"),
    ],
)
def test_a_field_that_cannot_be_set_is_refused(
    operator: Caller, organization: Organization, address: str, wanted: dict[str, str], field: str
) -> None:
    answer = operator.post(f"{address}?organization=acme", wanted)

    assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, field)


def test_the_body_may_name_the_organization_of_a_new_repository(operator: Caller, organization: Organization) -> None:
    Organization.objects.create(slug="other")

    created = operator.post("/v1/repositories", {"name": "gadgets", "organization": "acme"})

    assert (created.status_code, created.json()["full_name"]) == (201, "acme/gadgets")


def test_the_openapi_document_is_json_whatever_is_asked_for(db: None) -> None:
    for accept in ("*/*", "text/html", "application/json"):
        assert Client().get("/v1/openapi.json", headers={"Accept": accept}).json()["info"]["title"] == "HookHub"


DEFAULTS: dict[str, tuple[dict[str, Any], tuple[str, str | None, bool] | str]] = {
    "a dialect": ({"default_dialect": "sigmagit"}, ("sigmagit", None, False)),
    "a format of its own": ({"default_format": "github"}, ("native", "github", False)),
    "checked events": ({"validate_events": True}, ("native", None, True)),
    "no dialect": ({"default_dialect": None}, "default_dialect"),
    "a dialect that is none": ({"default_dialect": "gitlab"}, "default_dialect"),
    "no format by an empty text": ({"default_format": ""}, "default_format"),
    "a format that is none": ({"default_format": "gitlab"}, "default_format"),
    "neither yes nor no": ({"validate_events": "perhaps"}, "validate_events"),
}


@pytest.mark.parametrize(("wanted", "expected"), DEFAULTS.values(), ids=DEFAULTS)
@pytest.mark.parametrize("is_new", [True, False], ids=["created", "changed"])
def test_an_organization_says_whose_words_it_speaks(
    operator: Caller, organization: Organization, wanted: Any, expected: Any, is_new: bool
) -> None:
    if is_new:
        answer = operator.post("/v1/organizations", {"slug": "new", **wanted})
    else:
        answer = operator.patch("/v1/organizations/acme", wanted)

    if isinstance(expected, str):
        assert (answer.status_code, list(faults(answer))) == (422, [expected])
    else:
        row = answer.json()
        assert (row["default_dialect"], row["default_format"], row["validate_events"]) == expected


def test_a_format_that_was_set_can_be_left_to_the_dialect_again(api: Caller, organization: Organization) -> None:
    api.patch("/v1/organizations/acme", {"default_format": "github", "default_dialect": "codmir"})

    answer = api.patch("/v1/organizations/acme", {"default_format": None})

    organization.refresh_from_db()
    assert (answer.json()["default_format"], organization.wire_format) == (None, "codmir")

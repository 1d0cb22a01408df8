"""What holds at `/v1/webhooks` for every system that share it: the dialects' contract, tested here, too."""

import copy
import json
import re
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from deliveries.models import Organization, Webhook
from hookhub.models import Membership, Scope
from tests.api import Caller
from tests.dialects.test_contract import BAD_BODIES, QUERIES, SECRET, TOKEN, WORDS, pairwise
from tests.receiver import Receiver
from tests.story import Forge

pytestmark = pytest.mark.django_db

SYSTEMS = ["native", "coregit", "codmir"]
DOORS = [
    ("GET", ""), ("POST", ""), ("GET", "/{id}"), ("PATCH", "/{id}"), ("DELETE", "/{id}"),
    ("POST", "/{id}/enable"), ("POST", "/{id}/disable"), ("POST", "/{id}/rotate-secret"), ("POST", "/{id}/ping"),
    ("GET", "/{id}/stats"),
]  # fmt: skip
WITH_A_BODY = [door for door in DOORS if door[0] in {"POST", "PATCH"} and not door[1].endswith(("disable", "ping"))]


def names(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


every_system = pytest.mark.parametrize("system", SYSTEMS)
every_door = pytest.mark.parametrize("door", DOORS, ids=names)


@pytest.fixture(scope="module")
def webhooks(rows_of_the_module: None, now: datetime) -> dict[str, Webhook]:
    """Create an organization with a webhook for each system."""
    with Receiver() as receiver:
        forges = {system: Forge.make(receiver, slug=system) for system in SYSTEMS}
        for system, forge in forges.items():
            Organization.objects.filter(pk=forge.organization.pk).update(default_dialect=system)
            forge.organization.refresh_from_db()
        return {
            system: forge.webhook(now=now, format="coregit", secret=SECRET, headers={"X-Token": TOKEN})
            for system, forge in forges.items()
        }


@pytest.fixture
def webhook(webhooks: dict[str, Webhook], db: None, system: str) -> Webhook:
    """Return the webhook of the system; what a test does to it is undone."""
    return copy.deepcopy(webhooks[system])


@pytest.fixture
def owner(webhook: Webhook) -> Caller:
    return Caller.of(webhook.organization)


def at(door: tuple[str, str], webhook: Webhook | str) -> tuple[str, str]:
    uid = webhook if isinstance(webhook, str) else str(webhook.uid)
    return door[0], "/v1/webhooks" + door[1].replace("{id}", uid)


def has_the_shape_of(system: str, answer: Any) -> bool:
    told = answer.json()
    if system == "coregit":
        return set(told) == {"error", "code"} and isinstance(told["error"], str) and told["code"].isupper()
    return set(told) == {"error"} and set(told["error"]) == {"code", "message", "fields"}


@every_door
@every_system
def test_without_a_key_it_is_401(webhook: Webhook, system: str, door: tuple[str, str]) -> None:
    for header in (None, "Bearer hh_000000000000_" + "a" * 43, "Bearer x", "x"):
        answer = Client().generic(
            *at(door, webhook), b"{}", "application/json", headers={} if header is None else {"Authorization": header}
        )

        # Without a key the organization, and so its dialect, is unknown.
        assert (answer.status_code, has_the_shape_of("native", answer)) == (401, True), header
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="hookhub"', header


@pytest.mark.parametrize("scope", [Scope.PUBLISH, Scope.READ, Scope.MANAGE])
@every_door
@every_system
def test_the_scopes_that_open_a_door_are_those_of_the_system(
    webhook: Webhook, system: str, door: tuple[str, str], scope: Scope
) -> None:
    before = list(Webhook.objects.values())
    opens = system != "coregit" and (scope == Scope.MANAGE or (scope == Scope.READ and door[0] == "GET"))

    answer = Caller.of(webhook.organization, scope).send(*at(door, webhook), {})

    assert (answer.status_code == 403) != opens
    if not opens:
        assert has_the_shape_of(system, answer)
        assert list(Webhook.objects.values()) == before


@pytest.mark.parametrize("theirs", SYSTEMS)
@pytest.mark.parametrize("door", [door for door in DOORS if "{id}" in door[1]], ids=names)
@every_system
def test_anothers_is_404_with_the_same_words_as_nothing_at_all(
    webhook: Webhook, system: str, door: tuple[str, str], theirs: str
) -> None:
    before = list(Webhook.objects.values())
    stranger = Caller.of(Organization.objects.create(slug="other", default_dialect=theirs))

    there, nowhere = (stranger.send(*at(door, one), {}) for one in (webhook, "019cb8b8-1e00-753a-a23d-b63dc6d7ef09"))

    assert (there.status_code, nowhere.status_code) == (404, 404)
    assert there.content == nowhere.content
    assert has_the_shape_of(theirs, there)
    assert list(Webhook.objects.values()) == before


@pytest.mark.parametrize("content", BAD_BODIES.values(), ids=BAD_BODIES)
@pytest.mark.parametrize("door", [("POST", ""), ("PATCH", "/{id}")], ids=names)
@every_system
def test_a_body_that_is_no_json_object_is_refused_in_the_systems_shape(
    webhook: Webhook, owner: Caller, system: str, door: tuple[str, str], content: bytes
) -> None:
    before = list(Webhook.objects.values())

    answer = owner.send(*at(door, webhook), content)

    assert answer.status_code in ({400} if system == "coregit" else {400, 422})
    assert has_the_shape_of(system, answer)
    assert list(Webhook.objects.values()) == before


FIELDS = ["url", "events", "active", "secret", "format", "headers", "retry_schedule", "\0"]


@pytest.mark.parametrize("door", WITH_A_BODY, ids=names)
# codmir has HookHub's own shapes with another vocabulary, and both of these are tested here.
@pytest.mark.parametrize("system", ["native", "coregit"])
def test_no_value_of_any_field_breaks_it(webhook: Webhook, owner: Caller, system: str, door: tuple[str, str]) -> None:
    given = {"url": "http://127.0.0.1:9999/", "events": ["*"]} if door == ("POST", "") else {}
    for number, field in enumerate(FIELDS):
        for value in pairwise(WITH_A_BODY.index(door), number):
            answer = owner.send(*at(door, webhook), json.dumps({**given, field: value}).encode())

            assert answer.status_code < 500, (field, value, answer.content[:300])
            assert answer.status_code < 400 or has_the_shape_of(system, answer), (field, value)


@pytest.mark.parametrize("word", WORDS)
@every_system
def test_a_path_that_leads_nowhere_is_404(webhook: Webhook, owner: Caller, system: str, word: str) -> None:
    for door in (door for door in DOORS if "{id}" in door[1]):
        assert owner.send(*at(door, word), {}).status_code == 404, door


@pytest.mark.parametrize("door", [door for door in DOORS if door[0] == "GET"], ids=names)
@every_system
def test_no_query_breaks_it(webhook: Webhook, owner: Caller, system: str, door: tuple[str, str]) -> None:
    for query in QUERIES:
        answer = owner.get(f"{at(door, webhook)[1]}?{query}")

        assert answer.status_code in {200, 400, 404, 422}, query
        # A query that cannot be decoded is rejected before the organization, and so its dialect, is known.
        is_readable = not {"%00", "%F0"} & set(re.findall("%..", query))
        assert answer.status_code == 200 or has_the_shape_of(system if is_readable else "native", answer), query


@every_door
@every_system
def test_secrets_are_never_read_back(webhook: Webhook, owner: Caller, system: str, door: tuple[str, str]) -> None:
    answer = owner.send(*at(door, webhook), {})

    assert SECRET not in answer.content.decode()
    assert TOKEN.removeprefix("Bearer ") not in answer.content.decode()


# Which dialect answers ------------------------------------------------------------------------------------------------


@every_system
def test_who_asks_for_hookhubs_own_words_gets_them(webhook: Webhook, owner: Caller, system: str) -> None:
    asked = {"HookHub-Dialect": "native"}
    address = f"/v1/webhooks/{webhook.uid}"

    listed = owner.send("GET", "/v1/webhooks", None, headers=asked).json()["results"]
    shown = owner.send("GET", address, None, headers=asked).json()
    missing = owner.send("GET", "/v1/webhooks/x", None, headers=asked)
    free = owner.send("PATCH", address, {"events": ["issues.opened"]}, headers=asked)
    deleted = owner.send("DELETE", address, None, headers=asked)

    assert listed == [shown]
    assert shown["format"] == "coregit"
    assert (missing.status_code, has_the_shape_of("native", missing)) == (404, True)
    assert (free.status_code, free.json()["events"], deleted.status_code) == (200, ["issues.opened"], 204)


@pytest.mark.parametrize("word", ["coregit", "sigmagit", "Native", "\xe9"])
@every_system
def test_no_other_words_can_be_asked_for(webhook: Webhook, owner: Caller, system: str, word: str) -> None:
    answer = owner.send("GET", "/v1/webhooks", None, headers={"HookHub-Dialect": word})

    assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, "HookHub-Dialect")


@every_system
def test_an_operator_hears_the_words_of_the_organization_that_is_named(
    webhook: Webhook, operator: Caller, system: str
) -> None:
    Organization.objects.create(slug="other", default_dialect="native")
    wanted = {"url": "http://127.0.0.1:9999/", "events": ["*"], "organization": system}

    made = operator.post("/v1/webhooks", wanted)
    refused = operator.post("/v1/webhooks", {**wanted, "events": []})
    unnamed = operator.get("/v1/webhooks")

    assert (made.status_code, set(made.json()) == {"id", "url", "events", "secret", "active"}) == (
        201, system == "coregit",
    )  # fmt: skip
    assert has_the_shape_of(system, refused)
    assert (unnamed.status_code, has_the_shape_of("native", unnamed)) == (422, True)


def test_a_person_needs_the_rights_of_a_master_key_where_a_key_would(forge: Forge, now: datetime) -> None:
    Organization.objects.filter(pk=forge.organization.pk).update(default_dialect="coregit")
    forge.webhook(now=now)
    seen = []

    for role in (Membership.Role.MANAGER, Membership.Role.OWNER):
        user = User.objects.create_user(role)
        Membership.objects.create(user=user, organization=forge.organization, role=role)
        browser = Client()
        browser.force_login(user)
        seen.append(browser.get("/v1/webhooks").status_code)

    assert seen == [403, 200]


@pytest.mark.parametrize("system", ["sigmagit", "social-gateway", "code-storage"])
def test_a_system_with_addresses_of_its_own_changes_the_format_here_and_nothing_else(db: None, system: str) -> None:
    organization = Organization.objects.create(slug="acme", default_dialect=system)

    created = Caller.of(organization, Scope.MANAGE).post(
        "/v1/webhooks", {"url": "http://127.0.0.1:9999/", "events": ["anything.at.all"]}
    )

    assert (created.status_code, created.json()["format"]) == (201, system)

"""Event types: documented ones, custom ones of organizations, and validation of events wherever they come in."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from freezegun import freeze_time

from deliveries.event_types import catalogue
from deliveries.models import Event, Organization
from deliveries.systems import SYSTEMS
from hookhub.event_types import registry
from hookhub.event_types.registry import MAX_CUSTOM_TYPES, AlreadyRegistered
from hookhub.event_types.validation import MAX_STEPS, TOO_MANY_STEPS
from hookhub.http.event_type_names import validate_event_types
from hookhub.http.refusals import Refusal
from hookhub.models import CustomEventType, Scope
from hookhub.publishing.redis_stream import ingest
from hookhub.publishing.redis_stream.entries import Entry, InvalidEntry, ParsedEntry, read
from hookhub.publishing.redis_stream.ingest import store
from tests.api import Caller, faults
from tests.fake_hookhub import Answer, fake_hookhub
from tests.story import counted_statements, together

pytestmark = pytest.mark.django_db

TYPES = "/v1/event-types"
TURNED = {
    "type": "widget.turned",
    "description": "A widget was turned.",
    "schema": {"type": "object", "required": ["degrees"], "properties": {"degrees": {"type": "integer"}}},
    "example": {"degrees": 90},
}


# Documented types ----------------------------------------------------------------------------------------------------


def names(answer: Any) -> list[str]:
    return [row["type"] for row in answer.json()["results"]]


@pytest.mark.parametrize("dialect", SYSTEMS)
def test_what_a_system_documents_is_open_to_all(client: Any, dialect: str) -> None:
    answer = client.get(f"{TYPES}?dialect={dialect}")

    assert answer.status_code == 200
    assert names(answer) == list(catalogue.of(dialect).types)
    for row in answer.json()["results"]:
        entry = catalogue.of(dialect).types[row["type"]]
        assert row == {
            "type": entry.type,
            "family": entry.family,
            "dialect": dialect,
            "description": entry.description,
            "actions": list(entry.actions),
            "schema": entry.schema,
            "example": entry.example,
        }


def test_without_a_key_the_list_is_hookhubs_own_and_with_one_the_organizations(
    client: Any, api: Caller, organization: Organization
) -> None:
    Organization.objects.update(default_dialect="codmir")
    api.post(TYPES, TURNED)
    api.post(TYPES, {"type": "ticket.created", "description": "Ours."})

    assert names(client.get(TYPES)) == list(catalogue.of("native").types)
    listed = api.get(TYPES).json()["results"]
    own, documented = listed[:2], listed[2:]
    assert [(row["type"], row["dialect"]) for row in own] == [("ticket.created", None), ("widget.turned", None)]
    assert {row["dialect"] for row in documented} == {"codmir"}
    assert [row["type"] for row in documented] == [n for n in catalogue.of("codmir").types if n != "ticket.created"]


@pytest.mark.parametrize("scope", Scope)
def test_whoever_has_a_key_may_see_the_types(organization: Organization, scope: Scope) -> None:
    registry.register(TURNED, organization=organization, now=organization.created_at)

    assert names(Caller.of(organization, scope).get(TYPES))[0] == "widget.turned"
    assert Caller.of(organization, scope).get(f"{TYPES}/widget.turned").json()["example"] == {"degrees": 90}


def test_one_type_is_found_where_the_list_has_it(client: Any, api: Caller, other: Caller) -> None:
    api.post(TYPES, TURNED)
    api.post(TYPES, {"type": "push", "description": "Ours."})

    assert client.get(f"{TYPES}/issues.opened?dialect=sigmagit").json()["dialect"] == "sigmagit"
    assert api.get(f"{TYPES}/push").json()["description"] == "Ours."
    assert api.get(f"{TYPES}/push?dialect=coregit").json()["dialect"] == "coregit"
    assert client.get(f"{TYPES}/push").json()["dialect"] == "native"
    for caller, address in (
        (client, "widget.turned"), (other, "widget.turned"), (api, "widget"), (api, "x%00"),
        (client, "push?dialect=nobody"),
    ):  # fmt: skip
        assert caller.get(f"{TYPES}/{address}").status_code == 404


def test_a_dialect_that_is_none_is_refused(client: Any) -> None:
    assert list(faults(client.get(f"{TYPES}?dialect=../secrets"))) == ["dialect"]
    assert list(faults(client.get(f"{TYPES}?dialekt=native"))) == ["dialekt"]


# Custom types --------------------------------------------------------------------------------------------------------


def test_a_type_is_registered_changed_and_deleted(api: Caller) -> None:
    created = api.post(TYPES, TURNED)
    changed = api.patch(f"{TYPES}/widget.turned", {"description": "Turned.", "schema": None})
    deleted = api.delete(f"{TYPES}/widget.turned")

    assert (created.status_code, changed.status_code, deleted.status_code) == (201, 200, 204)
    assert created.headers["Location"] == f"{TYPES}/widget.turned"
    row = {**TURNED, "family": "widget", "dialect": None, "actions": []}
    assert created.json() == row
    assert changed.json() == {**row, "description": "Turned.", "schema": None}
    assert api.get(f"{TYPES}/widget.turned").status_code == 404


def test_a_type_is_registered_once(api: Caller, organization: Organization) -> None:
    first, again = api.post(TYPES, TURNED), api.post(TYPES, {**TURNED, "description": "Again."})

    assert (first.status_code, again.status_code) == (201, 409)
    assert CustomEventType.objects.get().description == "A widget was turned."


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_registers_it_and_none_gets_beyond_the_limit(
    organization: Organization, now: datetime
) -> None:
    CustomEventType.objects.bulk_create(
        CustomEventType(organization=organization, type=f"t{n}") for n in range(MAX_CUSTOM_TYPES - 2)
    )

    def register(name: str) -> Callable[[], str]:
        def act() -> str:
            try:
                return registry.register({"type": name}, organization=organization, now=now).type
            except (AlreadyRegistered, ValueError) as error:
                return type(error).__name__

        return act

    assert sorted(together(*[register("a")] * 4)) == [
        "AlreadyRegistered",
        "AlreadyRegistered",
        "AlreadyRegistered",
        "a",
    ]
    found = together(*[register(name) for name in ("b", "c", "d")])
    assert sorted(found)[:2] == ["InvalidFields", "InvalidFields"]
    assert CustomEventType.objects.count() == MAX_CUSTOM_TYPES


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no type": ({"type": None}, "type"),
    "a strange type": ({"type": "a b"}, "type"),
    "a pattern": ({"type": "a.*"}, "type"),
    "HookHub's own": ({"type": "webhook.disabled"}, "type"),
    "HookHub's own family": ({"type": "webhook"}, "type"),
    "a ping": ({"type": "ping"}, "type"),
    "a description that is none": ({"description": 5}, "description"),
    "a description with a NUL": ({"description": "\0"}, "description"),
    "a long description": ({"description": "x" * 501}, "description"),
    "no schema": ({"schema": "{}"}, "schema"),
    "a schema that fetches": ({"schema": {"$ref": "http://127.0.0.1:1/"}}, "schema"),
    "a schema with a regular expression": ({"schema": {"pattern": "(a+)+$"}}, "schema"),
    "an example beside its schema": ({"example": {"degrees": "ninety"}}, "example.degrees"),
    "an example that lacks something": ({"example": {}}, "example.degrees"),
    "a long example": ({"schema": None, "example": "x" * 65_536}, "example"),
    "another field": ({"exmaple": 1}, "exmaple"),
}


@pytest.mark.parametrize(("changes", "field"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_registered_is_refused_by_its_field(api: Caller, changes: dict[str, Any], field: str) -> None:
    answer = api.post(TYPES, {**TURNED, **changes})

    assert answer.status_code == 422
    assert list(faults(answer)) == [field]
    assert not CustomEventType.objects.exists()


def test_a_number_beyond_numbers_is_refused(api: Caller) -> None:
    answer = api.post(TYPES, b'{"type": "a", "example": 1e999, "schema": {"minimum": 1e999}}')

    assert (answer.status_code, sorted(faults(answer))) == (422, ["example", "schema"])


@pytest.mark.parametrize("example", ['"\\u0000"', '"\\ud800"', '{"a": 1, "a": 2}', "123456789012345678901234567890"])
def test_an_example_may_be_any_json(api: Caller, example: str) -> None:
    created = api.post(TYPES, b'{"type": "a", "example": %b}' % example.encode())

    assert created.status_code == 201
    assert api.get(f"{TYPES}/a").json()["example"] == json.loads(example)


def test_an_example_must_keep_to_the_schema_whichever_of_them_changes(api: Caller) -> None:
    api.post(TYPES, TURNED)

    refused = api.patch(f"{TYPES}/widget.turned", {"schema": {"required": ["radians"]}})
    renamed = api.patch(f"{TYPES}/widget.turned", {"type": "widget.shaken"})

    assert list(faults(refused)) == ["example.radians"]
    assert list(faults(renamed)) == ["type"]
    assert api.get(f"{TYPES}/widget.turned").json()["schema"] == TURNED["schema"]


def test_what_a_system_documents_cannot_be_changed(api: Caller) -> None:
    assert api.patch(f"{TYPES}/push", {"description": "Ours."}).status_code == 409
    assert api.delete(f"{TYPES}/push").status_code == 409
    assert api.delete(f"{TYPES}/nothing").status_code == 404


def test_registering_takes_a_key_that_may_manage_and_touches_nobody_elses(
    api: Caller, other: Caller, client: Any, organization: Organization
) -> None:
    api.post(TYPES, TURNED)

    for scope in (Scope.PUBLISH, Scope.READ):
        caller = Caller.of(organization, scope)
        assert caller.post(TYPES, {"type": "a"}).status_code == 403
        assert caller.delete(f"{TYPES}/widget.turned").status_code == 403
    assert client.post(TYPES, "{}", content_type="application/json").status_code == 401
    assert client.delete(f"{TYPES}/widget.turned").status_code == 401
    assert other.patch(f"{TYPES}/widget.turned", {"description": "Mine."}).status_code == 404
    assert other.delete(f"{TYPES}/widget.turned").status_code == 404
    assert CustomEventType.objects.get().description == "A widget was turned."


def test_a_list_may_hold_types_of_ones_own_in_every_dialect(organization: Organization, now: datetime) -> None:
    registry.register(TURNED, organization=organization, now=now)

    def is_known(word: str, *, dialect: str, of: Organization = organization) -> bool:
        try:
            validate_event_types({"events": [word]}, dialect=dialect, organization=of)
        except Refusal:
            return False
        return True

    assert is_known("widget.turned", dialect="coregit")
    assert is_known("widget", dialect="social-gateway")
    assert is_known("issues.opened", dialect="sigmagit")
    assert is_known("tag.created", dialect=organization.default_dialect)
    assert not is_known("issues.opened", dialect=organization.default_dialect)
    assert not is_known("widget.turned", dialect="coregit", of=Organization.objects.create(slug="b"))


# Validation ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def strict(organization: Organization) -> Organization:
    """Return an organization with Sigmagit's dialect and event validation."""
    Organization.objects.update(default_dialect="sigmagit", validate_events=True)
    organization.refresh_from_db()
    return organization


CHOOSY = "application/json;q=1"
STAR = catalogue.of("sigmagit").types["star.added"].example
BROKEN = {**STAR, "repository": {**STAR["repository"], "owner": 5}}
FAULT = {"data.repository.owner": "must be of type string"}
WAYS = pytest.mark.parametrize("accept", ["", CHOOSY], ids=["the fast path", "the DRF path"])


@WAYS
def test_what_breaks_its_schema_is_refused_by_its_path(strict: Organization, accept: str) -> None:
    caller = Caller.of(strict, Scope.PUBLISH, accept=accept)

    answer = caller.post("/v1/events", {"type": "star.added", "data": BROKEN})

    assert (answer.status_code, answer.json()["error"]["code"], faults(answer)) == (422, "invalid", FAULT)
    assert not Event.objects.exists()


@WAYS
@pytest.mark.parametrize("ndjson", [False, True], ids=["an array", "lines"])
def test_of_a_batch_every_fault_is_told_and_nothing_accepted(strict: Organization, accept: str, ndjson: bool) -> None:
    caller = Caller.of(strict, Scope.PUBLISH, accept=accept)
    events = [
        {"type": "star.added", "data": data} for data in (STAR, BROKEN, STAR, {**STAR, "action": "removed"}, None)
    ]
    body = b"\n".join(json.dumps(each).encode() for each in events) if ndjson else json.dumps(events).encode()

    answer = caller.post("/v1/events", body, content_type="application/x-ndjson" if ndjson else "application/json")

    assert answer.status_code == 422
    assert faults(answer) == {
        "events[1].data.repository.owner": "must be of type string",
        "events[3].data.action": 'must be "added"',
        "events[4].data": "must be of type object",
    }
    assert not Event.objects.exists()


@WAYS
def test_what_keeps_to_its_schema_or_has_none_is_accepted(strict: Organization, accept: str) -> None:
    caller = Caller.of(strict, Scope.PUBLISH, accept=accept)

    answers = [
        caller.post("/v1/events", event)
        for event in (
            {"type": "star.added", "data": STAR},
            {"type": "star", "data": STAR},
            {"type": "nobody.knows", "data": 5},
            {"type": "issues", "data": {"action": "sung"}},
        )
    ]

    assert [answer.status_code for answer in answers] == [202] * 4


def test_who_spells_a_type_as_github_does_is_checked_all_the_same(strict: Organization) -> None:
    answer = Caller.of(strict).post("/v1/events", {"type": "star", "data": {**BROKEN, "action": "added"}})

    assert faults(answer) == FAULT


def test_without_the_wish_nothing_is_checked_and_nothing_is_asked(
    strict: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    Organization.objects.update(validate_events=False)
    strict.refresh_from_db()
    caller = Caller.of(strict, Scope.PUBLISH)
    monkeypatch.setattr(registry, "custom", None)
    monkeypatch.setattr(registry, "errors_in", None)
    caller.post("/v1/events", {"type": "star.added", "data": BROKEN})

    with counted_statements() as statements:
        answer = caller.post("/v1/events", {"type": "star.added", "data": BROKEN})

    assert (answer.status_code, len(statements)) == (202, 1)


def test_with_the_wish_a_second_event_takes_one_statement_still(strict: Organization) -> None:
    caller = Caller.of(strict, Scope.PUBLISH)
    caller.post("/v1/events", {"type": "star.added", "data": STAR})

    with counted_statements() as statements:
        answer = caller.post("/v1/events", {"type": "star.added", "data": STAR})

    assert (answer.status_code, len(statements)) == (202, 1)


def test_a_type_of_ones_own_goes_before_the_systems(strict: Organization) -> None:
    caller = Caller.of(strict)
    caller.post(TYPES, {"type": "star.added", "schema": {"required": ["stars"]}})

    theirs = caller.post("/v1/events", {"type": "star.added", "data": STAR})
    ours = caller.post("/v1/events", {"type": "star.added", "data": {"stars": 5}})

    assert (faults(theirs), ours.status_code) == ({"data.stars": "is required"}, 202)


def test_a_change_of_a_type_holds_from_the_next_event_on(strict: Organization) -> None:
    caller = Caller.of(strict)
    event = {"type": "widget.turned", "data": {"degrees": "ninety"}}

    def publish() -> int:
        return int(caller.post("/v1/events", event).status_code)

    found = [publish()]
    caller.post(TYPES, TURNED)
    found.append(publish())
    caller.patch(f"{TYPES}/widget.turned", {"schema": None})
    found.append(publish())
    caller.patch(f"{TYPES}/widget.turned", {"schema": TURNED["schema"]})
    found.append(publish())
    caller.delete(f"{TYPES}/widget.turned")
    found.append(publish())

    assert found == [202, 422, 202, 422, 202]


def test_what_another_process_has_registered_refuses_nobody_wrongly(strict: Organization, now: datetime) -> None:
    caller = Caller.of(strict, Scope.PUBLISH)
    registry.register(TURNED, organization=strict, now=now)
    event = {"type": "widget.turned", "data": {"radians": 1}}
    assert caller.post("/v1/events", event).status_code == 422

    # As another process would, which cannot invalidate this one's cache.
    CustomEventType.objects.update(schema='{"required": ["radians"]}', example=None)

    assert caller.post("/v1/events", event).status_code == 202


def test_the_wish_is_the_organizations_to_have(organization: Organization, api: Caller) -> None:
    moment = organization.created_at + timedelta(hours=1)
    event = {"type": "push", "data": {}}
    with freeze_time(moment):
        before = api.post("/v1/events", event)
        changed = api.patch("/v1/organizations/acme", {"validate_events": True, "default_dialect": "code-storage"})
    with freeze_time(moment + timedelta(seconds=6)):
        after = api.post("/v1/events", event)

    assert (before.status_code, changed.status_code, after.status_code) == (202, 200, 422)
    row = changed.json()
    assert (row["validate_events"], row["default_dialect"], row["default_format"]) == (True, "code-storage", None)
    assert sorted(faults(after)) == [
        f"data.{name}" for name in ("after", "before", "customer_id", "pushed_at", "ref", "repository")
    ]


def test_the_push_of_every_system_is_another(api: Caller, organization: Organization) -> None:
    found = {}
    for dialect in SYSTEMS:
        entry = catalogue.of(dialect).types.get("push")
        if entry is not None:
            Organization.objects.update(default_dialect=dialect, validate_events=True)
            caller = Caller.of(Organization.objects.get(), accept=CHOOSY)
            found[dialect] = [
                slug
                for slug in SYSTEMS
                if (other := catalogue.of(slug).types.get("push"))
                and caller.post("/v1/events", {"type": "push", "data": other.example}).status_code == 202
            ]

    assert found == {
        # HookHub's own push event is derived from GitHub's.
        "native": ["native", "social-gateway"],
        "coregit": ["coregit"],
        "code-storage": ["code-storage"],
        "sigmagit": ["sigmagit"],
        "social-gateway": ["native", "social-gateway"],
    }


def test_a_check_that_takes_too_long_refuses_the_event_and_not_the_server(strict: Organization) -> None:
    caller = Caller.of(strict)
    caller.post(TYPES, {"type": "bomb", "schema": {"items": {"allOf": [{"type": "integer"}] * 1000}}})

    answer = caller.post("/v1/events", {"type": "bomb", "data": [1] * 100_000})

    assert (answer.status_code, faults(answer)) == (422, {"data": TOO_MANY_STEPS})


# Other entry points --------------------------------------------------------------------------------------------------


def entry(number: int, content: object, field: bytes = b"event") -> ParsedEntry:
    found = read(Entry(f"{number}-1", (field, json.dumps(content).encode())))
    assert isinstance(found, ParsedEntry)
    return found


def test_of_the_stream_only_the_entries_that_break_their_schema_are_refused(
    strict: Organization, now: datetime
) -> None:
    loose = Organization.objects.create(slug="loose")
    good, bad = {"type": "star.added", "data": STAR}, {"type": "star.added", "data": BROKEN}
    told = [
        entry(1, {**good, "organization": "acme"}),
        entry(2, {**bad, "organization": "acme"}),
        entry(3, {**bad, "organization": "loose"}),
        entry(4, [{**good, "organization": "acme"}, {**bad, "organization": "acme"}], b"events"),
        entry(5, {**good, "organization": "acme"}),
    ]

    refused, _ = store(told, now=now)

    assert [(each.entry.id, each.error) for each in refused] == [
        ("2-1", "data.repository.owner: must be of type string"),
        ("4-1", "events[1].data.repository.owner: must be of type string"),
    ]
    assert all(isinstance(each, InvalidEntry) for each in refused)
    assert Event.objects.filter(organization=strict).count() == 2
    assert Event.objects.filter(organization=loose).count() == 1


def test_where_every_entry_of_the_stream_breaks_its_schema_all_are_refused(strict: Organization, now: datetime) -> None:
    refused, _ = store([entry(n, {"type": "star.added", "data": BROKEN}) for n in range(3)], now=now)

    assert len(refused) == 3
    assert not Event.objects.exists()


def test_one_organizations_bomb_in_the_stream_holds_up_no_other(
    strict: Organization, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The budget is used up by the first schema bomb instead of the fifth, so most find no budget left, as with the real
    # limit.
    monkeypatch.setattr(ingest, "STEPS_FOR_ALL", MAX_STEPS)
    Organization.objects.create(slug="loose")
    Caller.of(strict).post(TYPES, {"type": "bomb", "schema": {"items": {"allOf": [{"type": "integer"}] * 1000}}})
    bombs = [entry(n, {"type": "bomb", "organization": "acme", "data": [1] * 5000}) for n in range(10)]
    other = entry(99, {"type": "bomb", "organization": "loose", "data": 1})

    with counted_statements() as statements:
        refused, _ = store([*bombs, other], now=now)

    assert {each.error for each in refused} == {f"data: {TOO_MANY_STEPS}"}
    assert len(refused) == 10
    assert Event.objects.get().organization.slug == "loose"
    assert len(statements) < 12


def test_the_command_that_sends_an_event_says_what_is_wrong_with_it(strict: Organization) -> None:
    refused = Caller.of(strict).post("/v1/events", {"type": "star.added", "data": BROKEN})

    with fake_hookhub() as fake:
        fake.answers = [Answer(refused.status_code, refused.content)]
        with pytest.raises(CommandError) as told:
            call_command("send_event", "star.added", url=fake.url, api_key="hh_1_secret", data=json.dumps(BROKEN))

    assert "data.repository.owner: must be of type string" in str(told.value)

"""Webhooks through the native API: their lifecycle, their secrets, and invalid requests."""

from typing import Any

import pytest

from deliveries import vault
from deliveries.models import Delivery, Event, Repository, Webhook
from hookhub.api.serializers.webhooks import WebhookSerializer
from tests.api import Caller, faults

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:9999/hook"


def create(api: Caller, **wanted: Any) -> dict[str, Any]:
    answer = api.post("/v1/webhooks", {"url": URL, "events": ["*"], **wanted})
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_a_webhook_is_created_listed_read_changed_and_deleted(api: Caller, repository: Repository) -> None:
    created = create(
        api, events=["push", "issues"], repository="widgets", name="CI", timeout=5, retry_schedule=[1, 60.5]
    )
    address = f"/v1/webhooks/{created['id']}"

    assert created["secret"].startswith("whsec_")
    shown = {name: value for name, value in created.items() if name != "secret"}
    assert api.get(address).json() == shown
    assert api.get("/v1/webhooks?repository=widgets").json()["results"] == [shown]
    assert (shown["repository"], shown["timeout"], shown["retry_schedule"]) == ("widgets", 5.0, [1.0, 60.5])

    changed = api.patch(address, {"events": ["*"], "timeout": None, "max_in_flight": 3}).json()
    assert (changed["events"], changed["timeout"], changed["max_in_flight"], changed["name"]) == (["*"], None, 3, "CI")

    assert api.delete(address).status_code == 204
    assert [api.get(address).status_code, api.delete(address).status_code] == [404, 404]
    assert api.get("/v1/webhooks").json()["results"] == []


def test_the_fields_of_a_list_are_made_once_and_not_for_each_webhook(
    api: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        create(api, url=f"https://example.com/{number}", events=["*"])
    made: list[object] = []
    get_fields = WebhookSerializer.get_fields

    def counted(serializer: WebhookSerializer) -> Any:
        made.append(serializer)
        return get_fields(serializer)

    monkeypatch.setattr(WebhookSerializer, "get_fields", counted)

    assert len(api.get("/v1/webhooks").json()["results"]) == 3
    assert len(made) == 1


def test_an_owner_limits_the_rate_of_the_requests(api: Caller) -> None:
    created = create(api, rate_limit={"requests": 10, "per": 1})
    address = f"/v1/webhooks/{created['id']}"

    assert created["rate_limit"] == api.get(address).json()["rate_limit"] == {"requests": 10, "per": 1}
    assert api.patch(address, {"name": "x"}).json()["rate_limit"] == {"requests": 10, "per": 1}
    changed = api.patch(address, {"rate_limit": {"per": 60, "requests": 600}}).json()
    assert changed["rate_limit"] == {"requests": 600, "per": 60}
    assert api.patch(address, {"rate_limit": None}).json()["rate_limit"] is None
    assert create(api)["rate_limit"] is None


def test_a_secret_is_shown_when_made_and_never_again(api: Caller) -> None:
    created = create(api, headers={"Authorization": "Bearer token-of-the-owner"})
    address = f"/v1/webhooks/{created['id']}"
    rotated = api.post(f"{address}/rotate-secret").json()

    answers = [
        api.get(address),
        api.get("/v1/webhooks"),
        api.patch(address, {"name": "x"}),
        api.post(f"{address}/disable"),
    ]
    answers += [api.post(f"{address}/enable"), api.get(f"{address}/stats")]
    for text in (answer.content.decode() for answer in answers):
        for secret in (created["secret"], rotated["secret"], "token-of-the-owner"):
            assert secret not in text
    stored = bytes(Webhook.objects.get().sealed_secrets) + bytes(Webhook.objects.get().sealed_headers)
    assert b"whsec" not in stored
    assert created["headers"] == {"Authorization": "********"}


def test_rotation_leaves_the_old_secret_alive_for_a_while_or_not(api: Caller) -> None:
    created = create(api)
    address = f"/v1/webhooks/{created['id']}"

    second = api.post(f"{address}/rotate-secret").json()["secret"]
    kept = [secret.text for secret in vault.secrets_of(Webhook.objects.get())]
    third = api.post(f"{address}/rotate-secret", {"overlap": 0}).json()["secret"]
    left = [secret.text for secret in vault.secrets_of(Webhook.objects.get())]

    assert kept == [second, created["secret"]]
    assert left == [third]


def test_moving_to_another_path_changes_the_secret_and_drops_the_headers(api: Caller) -> None:
    created = create(api, headers={"X-Token": "abc"})
    address = f"/v1/webhooks/{created['id']}"

    same_door = api.patch(address, {"url": f"{created['url']}?other=query"}).json()
    moved = api.patch(address, {"url": "http://127.0.0.1:9999/other"}).json()

    assert ("secret" in same_door, same_door["headers"]) == (False, {"X-Token": "********"})
    assert (moved["secret"] != created["secret"], moved["headers"]) == (True, {})


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        pytest.param({"url": "ftp://example.com"}, "url", id="scheme"),
        pytest.param({"url": "http://169.254.169.254/latest"}, "url", id="metadata"),
        pytest.param({"url": "http://10.0.0.1/"}, "url", id="private"),
        pytest.param({"url": None}, "url", id="null url"),
        pytest.param({"events": []}, "events", id="no events"),
        pytest.param({"events": "push"}, "events", id="events as text"),
        pytest.param({"events": ["a b"]}, "events", id="bad event"),
        pytest.param({"format": "smoke-signals"}, "format", id="unknown format"),
        pytest.param({"secret": "short"}, "secret", id="bad secret"),
        pytest.param({"headers": {"Host": "evil"}}, "headers", id="header kept back"),
        pytest.param({"headers": {"X-A": "b\r\nX-C: d"}}, "headers", id="header injection"),
        pytest.param({"headers": {"Webhook-Id": "1"}}, "headers", id="the format's own header"),
        pytest.param({"retry_schedule": [0]}, "retry_schedule", id="no wait"),
        pytest.param({"timeout": 31}, "timeout", id="too patient"),
        pytest.param({"timeout": True}, "timeout", id="true as a number"),
        pytest.param({"max_in_flight": 0}, "max_in_flight", id="none in flight"),
        pytest.param({"rate_limit": 10}, "rate_limit", id="a number as a rate"),
        pytest.param({"rate_limit": {"requests": 10}}, "rate_limit.per", id="half a rate"),
        pytest.param({"rate_limit": {"requests": 0, "per": 1}}, "rate_limit.requests", id="no rate"),
        pytest.param({"verify_ssl": "no"}, "verify_ssl", id="text as a flag"),
        pytest.param({"repository": "nope"}, "repository", id="unknown repository"),
        pytest.param({"colour": "red"}, "colour", id="unknown field"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_changes(api: Caller, wanted: dict[str, Any], field: str) -> None:
    before = create(api)

    refused = api.post("/v1/webhooks", {"url": URL, "events": ["*"], **wanted})
    unchanged = api.patch(f"/v1/webhooks/{before['id']}", wanted)

    assert (refused.status_code, list(faults(refused))) == (422, [field])
    assert (unchanged.status_code, list(faults(unchanged))) == (422, [field])
    assert Webhook.objects.count() == 1


def test_a_misspelt_field_is_answered_with_all_that_the_request_may_have(api: Caller, repository: Repository) -> None:
    new = {"url": "https://8.8.8.8/", "events": ["*"], "repository": repository.name, "active": False, "kind": "push"}
    said = faults(api.post("/v1/webhooks", {**new, "filtr": None}))["filtr"]
    assert {*new, "filter", "headers", "secret"} <= {*said.replace(":", ",").split(", ")}
    address = api.post("/v1/webhooks", new).headers["Location"]

    said = faults(api.patch(address, {"filtr": None}))["filtr"]

    assert {"active", "filter", "secret"} <= (named := {*said.replace(":", ",").split(", ")})
    assert not {"repository", "id", "organization"} & named


@pytest.mark.parametrize("name", ["organization", "repository"])
def test_what_cannot_be_changed_is_named(api: Caller, name: str) -> None:
    address = api.post("/v1/webhooks", {"url": "https://8.8.8.8/", "events": ["*"]}).headers["Location"]

    assert faults(api.patch(address, {name: "x"})) == {name: "cannot be changed; create another webhook"}


def test_what_is_missing_is_named(api: Caller) -> None:
    assert faults(api.post("/v1/webhooks", {})) == {"url": "is required", "events": "is required"}
    assert faults(api.post("/v1/webhooks", [1])) == {"body": "must be a JSON object"}


def test_disabling_holds_and_enabling_releases_what_is_owed(api: Caller) -> None:
    address = f"/v1/webhooks/{create(api)['id']}"
    api.post(f"{address}/ping")

    disabled = api.post(f"{address}/disable").json()
    ping = api.post(f"{address}/ping")
    enabled = api.post(f"{address}/enable").json()
    state = Delivery.objects.get().state
    released = api.post(f"{address}/enable", {"release_held": True}).json()

    assert (disabled["active"], disabled["disabled_reason"], disabled["held"]) == (False, "by_owner", 1)
    assert (ping.status_code, ping.json()["error"]["code"]) == (409, "conflict")
    assert (enabled["active"], enabled["released"], state) == (True, 0, "held")
    assert (released["released"], Delivery.objects.get().state) == (1, "pending")
    assert Event.objects.get().type == "ping"


def test_stats_of_a_new_webhook_are_empty_and_not_zero_divided(api: Caller) -> None:
    stats = api.get(f"/v1/webhooks/{create(api)['id']}/stats").json()

    assert {name: stats[name] for name in ("deliveries", "attempts", "success_rate", "p50_ms")} == {
        "deliveries": {}, "attempts": 0, "success_rate": None, "p50_ms": None,
    }  # fmt: skip


def test_deleting_a_repository_deletes_its_webhooks_and_keeps_the_log(api: Caller, repository: Repository) -> None:
    created = create(api, repository="widgets")
    api.post(f"/v1/webhooks/{created['id']}/ping")

    assert api.delete("/v1/repositories/widgets").status_code == 204
    assert api.get(f"/v1/webhooks/{created['id']}").status_code == 404
    [row] = api.get("/v1/deliveries").json()["results"]
    assert (row["state"], row["webhook"]) == ("cancelled", created["id"])


def test_a_webhook_of_a_format_that_only_another_version_knows_is_shown_and_what_can_be_changed_is(api: Caller) -> None:
    row = create(api)
    Webhook.objects.update(format="of-tomorrow")
    address = f"/v1/webhooks/{row['id']}"

    answers = {
        "list": api.get("/v1/webhooks"),
        "read": api.get(address),
        "stats": api.get(f"{address}/stats"),
        "name": api.patch(address, {"name": "later", "url": api.get(address).json()["url"]}),
        "test": api.post(f"{address}/test"),
        "secret": api.patch(address, {"secret": "whsec_" + "x" * 40}),
        "rotate": api.post(f"{address}/rotate-secret", {}),
        "format": api.patch(address, {"format": "coregit", "url": "https://example.com/again"}),
    }

    assert {name: answer.status_code for name, answer in answers.items()} == {
        "list": 200, "read": 200, "stats": 200, "name": 200, "test": 202, "secret": 422, "rotate": 422, "format": 200,
    }  # fmt: skip
    assert answers["read"].json()["format"] == "of-tomorrow"
    assert faults(answers["secret"]).keys() == faults(answers["rotate"]).keys() == {"format"}
    assert Webhook.objects.get().format == "coregit"

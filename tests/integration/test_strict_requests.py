"""What the OpenAPI document forbids is rejected with the name of the invalid field, and changes nothing."""

import pytest
from django.utils import timezone

from deliveries.models import Organization, Repository, Webhook
from deliveries.webhooks import creating
from hookhub.models import ApiKey
from tests.api import Caller, faults

pytestmark = pytest.mark.django_db

EMPTY = "must not be empty; omit it instead"


@pytest.fixture
def webhook(organization: Organization) -> Webhook:
    wanted = {"url": "https://receiver.example/hook", "events": ["*"]}
    return creating.create(wanted, organization=organization, repository=None, active=False, now=timezone.now())[0]


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/audit", "until"),
        ("/v1/audit", "actor"),
        ("/v1/audit", "organization"),
        ("/v1/api-keys", "cursor"),
        ("/v1/deliveries", "webhook"),
        ("/v1/deliveries", "state"),
        ("/v1/deliveries", "before"),
        ("/v1/event-types", "dialect"),
        ("/v1/event-types/push", "dialect"),
        ("/v1/events", "type"),
        ("/v1/events", "limit"),
        ("/v1/organizations", "cursor"),
        ("/v1/replays", "organization"),
        ("/v1/repositories", "organization"),
        ("/v1/webhooks", "active"),
        ("/v1/webhooks", "repository"),
    ],
)
def test_an_empty_query_parameter_is_refused_and_not_taken_for_none(api: Caller, path: str, parameter: str) -> None:
    answer = api.get(f"{path}?{parameter}=")

    assert answer.status_code == 422
    assert faults(answer) == {parameter: EMPTY}


def test_an_empty_window_of_statistics_is_refused(api: Caller, webhook: Webhook) -> None:
    assert faults(api.get(f"/v1/webhooks/{webhook.uid}/stats?hours=")) == {"hours": EMPTY}


def test_an_empty_organization_is_refused_where_the_body_names_none(operator: Caller, api: Caller) -> None:
    event = {"type": "push", "data": 1}

    assert faults(operator.post("/v1/events?organization=", event)) == {"organization": EMPTY}
    assert faults(operator.post("/v1/repositories?organization=", {"name": "new"})) == {"organization": EMPTY}
    assert not Repository.objects.exists()


@pytest.mark.parametrize("path", ["/v1/replays", "/v1/api-keys"])
def test_a_misspelt_parameter_is_refused_by_every_list(api: Caller, path: str) -> None:
    answer = api.get(f"{path}?stat=failed")

    assert answer.status_code == 422
    assert list(faults(answer)) == ["stat"]


def test_an_empty_dialect_header_is_refused_and_not_taken_for_none(api: Caller) -> None:
    answer = api.client.get("/v1/webhooks", headers={**api.headers, "HookHub-Dialect": ""})

    assert answer.status_code == 422
    assert list(faults(answer)) == ["HookHub-Dialect"]


@pytest.mark.parametrize("body", [b"null", b'""', b"0"])
def test_json_that_is_no_object_is_refused_and_not_taken_for_nothing(
    api: Caller, webhook: Webhook, body: bytes
) -> None:
    key = ApiKey.objects.get()

    for method, path in (
        ("PATCH", f"/v1/api-keys/{key.key_id}"),
        ("POST", f"/v1/api-keys/{key.key_id}/roll"),
        ("POST", f"/v1/webhooks/{webhook.uid}/enable"),
    ):
        assert faults(api.send(method, path, body)) == {"body": "must be a JSON object"}
    key.refresh_from_db()
    webhook.refresh_from_db()
    assert key.rolled_at is None
    assert not webhook.active


def test_an_empty_body_still_says_nothing(api: Caller, webhook: Webhook) -> None:
    assert api.post(f"/v1/webhooks/{webhook.uid}/enable").status_code == 200


@pytest.mark.parametrize(("act", "known"), [("enable", "release_held"), ("rotate-secret", "secret, overlap")])
def test_a_misspelt_field_is_refused_and_not_passed_over(api: Caller, webhook: Webhook, act: str, known: str) -> None:
    sealed = webhook.sealed_secrets

    answer = api.post(f"/v1/webhooks/{webhook.uid}/{act}", {"releas_held": True})

    assert faults(answer) == {"releas_held": f"is not a known field; known fields: {known}"}
    webhook.refresh_from_db()
    assert not webhook.active
    assert webhook.sealed_secrets == sealed


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/repositories", {"name": 7}, "name"),
        ("/v1/api-keys", {"scope": "read", "name": 7}, "name"),
        ("/v1/api-keys", {"scope": "read", "name": True}, "name"),
    ],
)
def test_no_text_is_made_of_a_number(api: Caller, path: str, body: object, field: str) -> None:
    assert faults(api.post(path, body)) == {field: "Not a valid string."}
    assert not Repository.objects.exists()
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("overlap", ["5", 5.0, True])
def test_no_whole_number_is_made_of_anything_else(api: Caller, overlap: object) -> None:
    key = ApiKey.objects.get()

    answer = api.post(f"/v1/api-keys/{key.key_id}/roll", {"overlap_seconds": overlap})

    assert faults(answer) == {"overlap_seconds": "A valid integer is required."}
    key.refresh_from_db()
    assert key.rolled_at is None


def test_a_moment_before_1970_finds_all_that_came_later(api: Caller) -> None:
    api.post("/v1/events", {"type": "push", "data": 1})

    found = api.get("/v1/events?after=0001-01-01T00:00:00Z").json()["results"]

    assert [event["type"] for event in found] == ["push"]
    assert api.get("/v1/events?before=1969-12-31T00:00:00Z").json()["results"] == []

"""A mask shown in place of a secret and sent back keeps the stored value, or is rejected, in every API."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from deliveries import vault
from deliveries.formats import FORMATS, MASK
from deliveries.models import Organization, Repository, Webhook
from deliveries.webhooks import changing
from deliveries.webhooks.fields import InvalidFields
from tests.api import Caller, faults

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:9999/hook"
SIGNING = [slug for slug, wire_format in FORMATS.items() if wire_format.secret_policy.allows_secret]


@pytest.fixture
def webhook(api: Caller) -> dict[str, Any]:
    fields = {"url": URL, "events": ["*"], "headers": {"X-Api-Key": "k1", "X-Old": "o1"}}
    created: dict[str, Any] = api.post("/v1/webhooks", fields).json()
    return created


def headers_now() -> dict[str, str]:
    return vault.headers_of(Webhook.objects.get())


def secrets_now() -> list[str]:
    return [secret.text for secret in vault.secrets_of(Webhook.objects.get())]


def test_headers_read_and_sent_back_keep_their_values(api: Caller, webhook: dict[str, Any]) -> None:
    shown = api.get(f"/v1/webhooks/{webhook['id']}").json()["headers"]

    answer = api.patch(f"/v1/webhooks/{webhook['id']}", {"headers": shown})

    assert (answer.status_code, shown) == (200, {"X-Api-Key": MASK, "X-Old": MASK})
    assert headers_now() == {"X-Api-Key": "k1", "X-Old": "o1"}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/hook?" + "&".join(["a=1"] * 200), "/hook?********"),
        ("/" + "x" * 2018 + "?a=1", "/********"),
    ],
    ids=["many parameters", "a long path"],
)
def test_a_url_whose_mask_is_longer_than_itself_is_stored_shown_and_sent_back(
    api: Caller, path: str, shown: str
) -> None:
    made = api.post("/v1/webhooks", {"url": f"https://receiver.example{path}", "events": ["push"]})
    found = api.get(f"/v1/webhooks/{made.json()['id']}").json()
    kept = api.patch(f"/v1/webhooks/{found['id']}", {"url": found["url"]})

    assert (made.status_code, found["url"]) == (201, f"https://receiver.example{shown}")
    assert kept.status_code == 200
    assert Webhook.objects.get(uid=found["id"]).url == f"https://receiver.example{path}"


def test_a_masked_header_keeps_its_value_beside_a_new_one_and_in_another_case(
    api: Caller, webhook: dict[str, Any]
) -> None:
    answer = api.patch(f"/v1/webhooks/{webhook['id']}", {"headers": {"x-api-key": MASK, "X-New": "n1"}})

    assert answer.status_code == 200
    assert headers_now() == {"x-api-key": "k1", "X-New": "n1"}


@pytest.mark.parametrize(
    ("changes", "fault"),
    {
        "a name that has no value": (
            {"headers": {"X-Other": MASK}},
            "the value of X-Other is masked, but no value is stored under that name; send the value itself",
        ),
        "another host": (
            {"url": "http://127.0.0.1:9998/hook", "headers": {"X-Api-Key": MASK}},
            "the value of X-Api-Key is masked, but the URL changed; send the value itself",
        ),
        "another path": (
            {"url": "http://127.0.0.1:9999/other", "headers": {"X-Api-Key": MASK}},
            "the value of X-Api-Key is masked, but the URL changed; send the value itself",
        ),
        "null": (
            {"headers": {"X-Api-Key": None}},
            "the value of X-Api-Key is null; to remove a header, use PATCH /v1/webhooks/{id}/headers",
        ),
    }.values(),
)
def test_a_mask_without_a_stored_value_is_invalid_and_changes_nothing(
    api: Caller, webhook: dict[str, Any], changes: dict[str, Any], fault: str
) -> None:
    answer = api.patch(f"/v1/webhooks/{webhook['id']}", changes)

    assert (answer.status_code, faults(answer)) == (422, {"headers": fault})
    assert (Webhook.objects.get().url, headers_now()) == (URL, {"X-Api-Key": "k1", "X-Old": "o1"})


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"headers": {"X-Api-Key": MASK}}, "headers"),
        *(({"secret": MASK, "format": slug}, "secret") for slug in SIGNING),
        ({"url": f"https://8.8.8.8/{MASK}"}, "url"),
        ({"url": f"https://8.8.8.8/{MASK}/messages"}, "url"),
        ({"url": f"https://8.8.8.8/a?token={MASK}"}, "url"),
        ({"url": f"https://8.8.8.8/a?{MASK}"}, "url"),
        ({"url": "https://8.8.8.8/a?token=%2A%2A%2A%2A%2A%2A%2A%2A&b=c"}, "url"),
    ],
)
def test_a_new_webhook_accepts_no_masks(
    api: Caller, organization: Organization, more: dict[str, Any], field: str
) -> None:
    answer = api.post("/v1/webhooks", {"url": URL, "events": ["*"], **more})

    assert (answer.status_code, list(faults(answer))) == (422, [field])
    assert not Webhook.objects.exists()


@pytest.mark.parametrize("slug", SIGNING)
def test_a_masked_secret_keeps_the_stored_one_in_every_format_that_signs(api: Caller, slug: str) -> None:
    created = api.post("/v1/webhooks", {"url": URL, "events": ["*"], "format": slug}).json()
    address = f"/v1/webhooks/{created['id']}"

    kept = api.patch(address, {"secret": MASK, "name": "kept"})
    moved = api.patch(address, {"secret": MASK, "url": "http://127.0.0.1:9998/hook"})
    rotated = api.post(f"{address}/rotate-secret", {"secret": MASK})

    assert (kept.status_code, kept.json()["name"], "secret" in kept.json()) == (200, "kept", False)
    assert (moved.status_code, list(faults(moved))) == (422, ["secret"])
    assert (rotated.status_code, faults(rotated)) == (422, {"secret": "is masked; send the secret itself"})
    assert (secrets_now(), Webhook.objects.get().url) == ([created["secret"]], URL)


def test_a_masked_secret_of_a_webhook_without_one_is_invalid(api: Caller) -> None:
    created = api.post("/v1/webhooks", {"url": URL, "events": ["*"], "format": "github", "secret": ""}).json()

    answer = api.patch(f"/v1/webhooks/{created['id']}", {"secret": MASK})

    assert (answer.status_code, faults(answer)) == (422, {"secret": "is masked; send the secret itself"})
    assert secrets_now() == []


def test_a_masked_secret_that_is_invalid_for_the_new_format_is_rejected(api: Caller) -> None:
    created = api.post("/v1/webhooks", {"url": URL, "events": ["*"], "format": "github", "secret": "plain"}).json()

    answer = api.patch(f"/v1/webhooks/{created['id']}", {"secret": MASK, "format": "standard-webhooks"})

    assert (answer.status_code, list(faults(answer))) == (422, ["secret"])
    assert (secrets_now(), Webhook.objects.get().format) == (["plain"], "github")


def test_one_header_is_added_and_one_removed_without_knowing_the_others(api: Caller, webhook: dict[str, Any]) -> None:
    address = f"/v1/webhooks/{webhook['id']}/headers"

    answer = api.patch(address, {"headers": {"X-New": "n1", "x-old": None, "X-Never-There": None}})

    assert (answer.status_code, answer.json()["headers"]) == (200, {"X-Api-Key": MASK, "X-New": MASK})
    assert headers_now() == {"X-Api-Key": "k1", "X-New": "n1"}
    assert api.patch(address, {"headers": {"x-api-key": MASK, "X-New": None}}).status_code == 200
    assert headers_now() == {"x-api-key": "k1"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"headers": {"X-Other": MASK}}, "headers"),
        ({"headers": {"Host": "evil.example"}}, "headers"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers"),
        ({"headers": {f"X-{n}": "v" for n in range(19)}}, "headers"),
        ({"headers": None}, "headers"),
        ({}, "headers"),
        ({"X-New": "n1"}, "X-New"),
    ],
)
def test_an_invalid_change_of_headers_changes_nothing(
    api: Caller, webhook: dict[str, Any], body: dict[str, Any], field: str
) -> None:
    answer = api.patch(f"/v1/webhooks/{webhook['id']}/headers", body)

    assert (answer.status_code, list(faults(answer))) == (422, [field])
    assert headers_now() == {"X-Api-Key": "k1", "X-Old": "o1"}


def test_a_header_that_changes_during_validation_is_kept_as_changed(
    api: Caller, webhook: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    validate, others = changing.validate, [{"X-Api-Key": "k2"}]

    def validate_and_pause(*args: Any, **options: Any) -> Any:
        cleaned = validate(*args, **options)
        if others:
            changing.change_headers(Webhook.objects.get().pk, others.pop(), now=Webhook.objects.get().created_at)
        return cleaned

    monkeypatch.setattr(changing, "validate", validate_and_pause)

    assert api.patch(f"/v1/webhooks/{webhook['id']}", {"headers": {"X-Api-Key": MASK}}).status_code == 200

    assert headers_now() == {"X-Api-Key": "k2"}


def test_a_campfire_configured_again_with_its_masked_token_keeps_the_token(api: Caller, repository: Repository) -> None:
    hooks = "/repos/acme/widgets/hooks"
    room = {"subdomain": "widgets", "room": "1", "token": "abc123"}
    api.post(hooks, {"name": "campfire", "config": room})
    token = headers_now()

    again = api.post(hooks, {"name": "campfire", "config": {**room, "token": MASK, "room": "2"}, "events": ["issues"]})
    elsewhere = api.post(hooks, {"name": "campfire", "config": {**room, "token": MASK, "subdomain": "evil"}})

    assert (again.status_code, again.json()["config"]) == (201, {**room, "token": MASK, "room": "2"})
    assert (elsewhere.status_code, elsewhere.json()["errors"][0]["field"]) == (422, "token")
    assert (headers_now(), Webhook.objects.get().events) == (token, ["issues"])


def test_a_password_masked_by_hand_is_refused(api: Caller, repository: Repository) -> None:
    for userinfo in (f"user:{MASK}", f"{MASK}:pass", "%2A%2A%2A%2A%2A%2A%2A%2A"):
        config = {"url": f"http://{userinfo}@127.0.0.1:9999/"}
        assert api.post("/repos/acme/widgets/hooks", {"config": config}).status_code == 422

    assert not Webhook.objects.exists()


def test_a_masked_chat_url_keeps_the_stored_one_at_sigmagit_and_github(api: Caller, repository: Repository) -> None:
    url = "https://8.8.8.8/services/T0/B0/secret"
    hook = api.post("/repos/acme/widgets/hooks", {"name": "slack", "config": {"url": url}}).json()
    masked = f"https://8.8.8.8/{MASK}"

    github = api.patch(f"/repos/acme/widgets/hooks/{hook['id']}", {"config": {"url": masked}})
    sigmagit = api.patch(f"/api/webhooks/{Webhook.objects.get().uid}", {"url": masked, "events": ["push"]})
    created = api.post("/api/repositories/acme/widgets/webhooks", {"url": f"https://discord.com/{MASK}"})

    assert (github.status_code, sigmagit.status_code, created.status_code) == (200, 200, 422)
    assert Webhook.objects.get().url == url


def test_the_admins_form_shows_headers_masked_and_keeps_what_is_left_masked(
    client: Client, webhook: dict[str, Any]
) -> None:
    client.force_login(User.objects.create_superuser("op", "op@example.com", "op-password-1"))
    row = Webhook.objects.get()
    page = f"/admin/deliveries/webhook/{row.pk}/change/"
    form = client.get(page).context["adminform"].form
    sent = {name: "" if value is None else value for name, value in form.initial.items()}
    assert sent["headers"] == f"X-Api-Key: {MASK}\nX-Old: {MASK}"

    for lines in (f"X-Api-Key: {MASK}\r\nX-New: n1", f"X-Api-Key: {MASK}\r\nX-Other: {MASK}"):
        sent |= {"headers": lines, "organization": row.organization_id, "repository": ""}
        client.post(page, {name: str(value) for name, value in sent.items() if value is not False})

    assert headers_now() == {"X-Api-Key": "k1", "X-New": "n1"}


def test_the_openapi_document_says_what_a_mask_means(api: Caller) -> None:
    document = json.loads(api.get("/v1/openapi.json").content)

    headers = document["components"]["schemas"]["Webhook"]["properties"]["headers"]
    assert (headers["type"], "readOnly" in headers) == ("object", False)
    assert "keeps the stored value" in headers["description"]
    assert "patch" in document["paths"]["/v1/webhooks/{uid}/headers"]


def test_a_change_is_validated_with_the_unmasked_values(organization: Organization, webhook: dict[str, Any]) -> None:
    row = Webhook.objects.get()

    changing.validate_change(row, {"headers": {"X-Old": MASK}, "secret": MASK})
    with pytest.raises(InvalidFields, match="X-Other"):
        changing.validate_change(row, {"headers": {"X-Other": MASK}})

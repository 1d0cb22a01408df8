"""SocialGateway beyond its examples: secrets, URL changes, credentials, services, the log, other dialects' webhooks."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from freezegun import freeze_time
from pytest_django import Settings

from deliveries import pipeline, vault
from deliveries.db.ids import uuid7
from deliveries.models import Attempt, Delivery, Event, Organization, Repository, Webhook
from deliveries.sending.sender import Sender
from hookhub.dialects.social_gateway import attempts_by_status
from hookhub.dialects.social_gateway.delivery_ids import number_of
from hookhub.event_types import registry
from tests.api import Caller
from tests.receiver import Answer, Receiver
from tests.story import Forge, deliver_due, together

pytestmark = pytest.mark.django_db

HOOKS = "/repos/acme/widgets/hooks"
HERE = "http://127.0.0.1:9999/hook"
ELSEWHERE = "http://127.0.0.1:9998/hook"


@pytest.fixture
def caller(forge: Forge) -> Caller:
    return Caller.of(forge.organization)


def create(caller: Caller, url: str = HERE, *, status: int = 201, events: Any = None, **config: Any) -> Any:
    wanted = {"config": {"url": url, **config}, "events": events}
    answer = caller.post(HOOKS, wanted)
    assert answer.status_code == status, answer.content
    return answer.json()


def edit(caller: Caller, hook: Any, *, status: int = 200, **wanted: Any) -> Any:
    answer = caller.patch(f"{HOOKS}/{hook['id']}", wanted)
    assert answer.status_code == status, answer.content
    return answer.json()


def secrets_of(hook: Any) -> list[str]:
    return [secret.text for secret in vault.secrets_of(Webhook.objects.get(pk=hook["id"]))]


def headers_of(hook: Any) -> dict[str, str]:
    return vault.headers_of(Webhook.objects.get(pk=hook["id"]))


def faults(answer: Any) -> list[tuple[str, str]]:
    return [(error["field"], error["code"]) for error in answer["errors"]]


def deliver(sender: Sender) -> None:
    """Send everything published so far."""
    now = timezone.now() + timedelta(seconds=1)
    pipeline.fan_out(now=now)
    deliver_due(sender, now=now)


# Secrets and URL changes --------------------------------------------------------------------------------------------


def test_a_hook_without_a_secret_has_none_and_signs_nothing(caller: Caller, receiver: Receiver, sender: Sender) -> None:
    hook = create(caller, receiver.url("/"), content_type="json")
    caller.post(f"{HOOKS}/{hook['id']}/pings", {})

    deliver(sender)

    [request] = receiver.received
    assert (secrets_of(hook), "secret" in hook["config"]) == ([], False)
    assert not {name for name in request.headers if name.startswith("x-hub")}


def test_what_was_read_can_be_sent_back_and_changes_nothing(caller: Caller) -> None:
    hook = create(caller, "http://user:pass@127.0.0.1:9999/hook", secret="old", insecure_ssl="1", content_type="json")

    again = edit(caller, hook, config=hook["config"])

    assert again["config"] == hook["config"]
    assert (secrets_of(hook), headers_of(hook)) == (["old"], {"Authorization": "Basic dXNlcjpwYXNz"})


def test_a_config_without_a_secret_removes_it(caller: Caller) -> None:
    hook = create(caller, secret="old")

    edited = edit(caller, hook, config={"url": HERE})

    assert (secrets_of(hook), "secret" in edited["config"]) == ([], False)


@pytest.mark.parametrize("config", [{"url": ELSEWHERE, "secret": "********"}], ids=["masked"])
def test_a_hook_that_moves_needs_its_secret_again(caller: Caller, config: dict[str, str]) -> None:
    hook = create(caller, secret="old")

    refused = edit(caller, hook, status=422, config=config)
    settled = caller.patch(f"{HOOKS}/{hook['id']}/config", {"url": ELSEWHERE})

    assert (faults(refused), settled.status_code, faults(settled.json())) == (
        [("secret", "invalid")], 422, [("secret", "invalid")],
    )  # fmt: skip
    assert (Webhook.objects.get().url, secrets_of(hook)) == (HERE, ["old"])
    assert edit(caller, hook, config={"url": ELSEWHERE, "secret": "new"})["config"]["url"] == ELSEWHERE
    assert secrets_of(hook) == ["new"]


@pytest.mark.parametrize("config", [{"url": ELSEWHERE}, {"url": ELSEWHERE, "secret": "********"}], ids=["url", "mask"])
def test_the_error_says_what_moving_needs_when_the_stored_secret_cannot_be_decrypted(
    caller: Caller, settings: Settings, config: dict[str, str]
) -> None:
    hook = create(caller, secret="old")
    settings.HOOKHUB_ENCRYPTION_KEYS = (Fernet.generate_key().decode(),)

    refused = caller.patch(f"{HOOKS}/{hook['id']}/config", config)

    [error] = refused.json()["errors"]
    assert (refused.status_code, error["field"]) == (422, "secret")
    assert error["message"] == "cannot be decrypted, and the URL changes; send a new secret"
    assert Webhook.objects.get().url == HERE
    settled = caller.patch(f"{HOOKS}/{hook['id']}/config", {"url": ELSEWHERE, "secret": "new"})
    assert (settled.status_code, Webhook.objects.get().url, secrets_of(hook)) == (200, ELSEWHERE, ["new"])


def test_the_error_says_that_a_secret_is_masked_only_if_a_mask_was_sent(caller: Caller) -> None:
    hook = create(caller, secret="old")
    address = f"{HOOKS}/{hook['id']}/config"

    unsent = caller.patch(address, {"url": ELSEWHERE}).json()["errors"]
    masked = caller.patch(address, {"url": ELSEWHERE, "secret": "********"}).json()["errors"]

    assert [error["message"] for error in unsent] == ["is required because the URL changes"]
    assert [error["message"] for error in masked] == ["is masked, but the URL changed; send the secret itself"]


def test_a_hook_that_moves_does_not_take_its_password_along(caller: Caller) -> None:
    hook = create(caller, "http://user:pass@127.0.0.1:9999/hook")

    refused = edit(caller, hook, status=422, config={"url": "http://********@127.0.0.1:9998/hook"})
    edit(caller, hook, config={"url": ELSEWHERE})

    assert (faults(refused), headers_of(hook)) == ([("url", "invalid")], {})


def test_a_masked_password_is_no_password_of_a_new_hook(caller: Caller) -> None:
    assert faults(create(caller, "http://********@127.0.0.1:9999/", status=422)) == [("url", "invalid")]
    assert faults(create(caller, status=422, secret="********")) == [("secret", "invalid")]


def test_the_password_in_a_url_is_sent_as_a_header_and_kept_from_every_reader(
    forge: Forge, caller: Caller, receiver: Receiver, sender: Sender
) -> None:
    url = f"http://us%65r:pa%3Ass@127.0.0.1:{receiver.port}/hook"
    hook = create(caller, url, content_type="json")
    caller.post(f"{HOOKS}/{hook['id']}/pings", {})
    deliver(sender)

    [request] = receiver.received
    assert (request.path, request.headers["authorization"]) == ("/hook", "Basic dXNlcjpwYTpzcw==")
    [row] = caller.get(f"{HOOKS}/{hook['id']}/deliveries").json()
    seen = [
        caller.get(address).content.decode()
        for address in (HOOKS, f"{HOOKS}/{hook['id']}", f"{HOOKS}/{hook['id']}/config", "/v1/webhooks",
                        f"{HOOKS}/{hook['id']}/deliveries/{row['id']}")
    ] + [request.body.decode()]  # fmt: skip
    for text in seen:
        assert not [secret for secret in ("pa:ss", "pa%3Ass", "dXNlcjpwYTpzcw") if secret in text]


def test_headers_set_at_another_door_stay(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(
        now=now, repository=forge.repository, format="github", secret="s",
        headers={"X-Team": "a", "Authorization": "Bearer t"},
    )  # fmt: skip
    hook = {"id": webhook.pk}

    edited = edit(caller, hook, config={"url": webhook.url, "secret": "********"})

    assert (edited["config"]["url"], headers_of(hook)) == (webhook.url, {"X-Team": "a", "Authorization": "Bearer t"})
    edit(caller, hook, config={"url": webhook.url.replace("//", "//u:p@")})
    assert headers_of(hook) == {"X-Team": "a", "Authorization": "Basic dTpw"}
    edit(caller, hook, config={"url": webhook.url})
    assert headers_of(hook) == {"X-Team": "a"}


# Webhooks of every dialect ------------------------------------------------------------------------------------------


def test_one_webhook_is_the_same_through_every_door(forge: Forge, caller: Caller) -> None:
    hook = create(caller, secret="s3cret-s3cret", content_type="json", events=["issues"])

    [row] = caller.get("/v1/webhooks?repository=widgets").json()["results"]
    assert (row["url"], row["events"], row["format"], row["content_type"]) == (
        HERE,
        ["issues"],
        "social-gateway",
        "json",
    )
    caller.patch(f"/v1/webhooks/{row['id']}", {"events": ["push", "issues.opened"]})
    caller.post(f"/v1/webhooks/{row['id']}/disable")
    seen = caller.get(f"{HOOKS}/{hook['id']}").json()
    assert (seen["events"], seen["active"]) == (["push", "issues.opened"], False)
    # Event types that this system cannot express may stay, although they could not be subscribed to here.
    kept = edit(caller, hook, events=["issues.opened", "push"], active=True)
    assert (kept["events"], kept["active"]) == (["issues.opened", "push"], True)
    caller.delete(f"/v1/webhooks/{row['id']}")
    assert caller.get(f"{HOOKS}/{hook['id']}").status_code == 404


def test_the_list_is_the_repositorys_whoever_made_them(forge: Forge, caller: Caller, now: datetime) -> None:
    repository = forge.repository
    other = Repository.objects.create(organization=forge.organization, name="gadgets")
    wanted = [
        forge.webhook(now=now, repository=repository, format=slug, **more)
        for slug, more in [
            ("coregit", {}), ("standard-webhooks", {}), ("slack", {"url": "https://hooks.slack.com/services/a/b/c"}),
        ]
    ]  # fmt: skip
    forge.webhook(now=now, repository=None)
    forge.webhook(now=now, repository=other)

    rows = caller.get(HOOKS).json()

    assert [(row["id"], row["name"]) for row in rows] == [
        (wanted[0].pk, "web"), (wanted[1].pk, "web"), (wanted[2].pk, "slack"),
    ]  # fmt: skip


def test_a_webhook_in_another_format_is_edited_within_that_formats_means(
    forge: Forge, caller: Caller, now: datetime
) -> None:
    webhook = forge.webhook(now=now, repository=forge.repository, format="coregit", secret="s" * 20)
    hook = {"id": webhook.pk}

    edit(caller, hook, config={"url": webhook.url})
    form = edit(caller, hook, status=422, config={"url": webhook.url, "content_type": "form"})
    moved = edit(caller, hook, status=422, config={"url": ELSEWHERE})

    # The format always signs, so a config without a secret keeps the existing one.
    assert (secrets_of(hook), faults(form), faults(moved)) == (
        ["s" * 20], [("content_type", "invalid")], [("secret", "missing_field")],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "default", "made"),
    [
        ("native", None, "social-gateway"), ("native", "github", "github"), ("social-gateway", None, "social-gateway"),
        ("coregit", None, "social-gateway"), ("social-gateway", "slack", "social-gateway"),
    ],
)  # fmt: skip
def test_the_organization_chooses_between_the_two_formats_of_these_clients(
    forge: Forge, caller: Caller, dialect: str, default: str | None, made: str
) -> None:
    Organization.objects.update(default_dialect=dialect, default_format=default)

    assert Webhook.objects.get(pk=create(caller)["id"]).format == made


def test_the_organizations_own_types_can_be_asked_for(caller: Caller) -> None:
    wanted = {"type": "build.done", "description": "A build."}
    registry.register(wanted, organization=Organization.objects.get(), now=timezone.now())

    assert create(caller, events=["build.done", "push"])["events"] == ["build.done", "push"]


# Concurrent requests take effect once -------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "wanted",
    [
        {"config": {"url": HERE}},
        {"name": "slack", "config": {"url": "https://hooks.slack.com/services/T0/B0/x"}},
    ],
    ids=["web", "service"],
)
def test_of_two_that_create_the_same_hook_at_once_one_makes_it(forge: Forge, wanted: dict[str, Any]) -> None:
    callers = [Caller.of(forge.organization) for _ in range(4)]

    answers = together(*[lambda caller=caller: caller.post(HOOKS, wanted) for caller in callers])

    assert Webhook.objects.count() == 1
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == ([201] * 4 if "name" in wanted else [201, 422, 422, 422])


@pytest.mark.django_db(transaction=True)
def test_of_two_that_add_an_event_at_once_both_are_heard(forge: Forge) -> None:
    hook = create(Caller.of(forge.organization))
    words = ["issues", "release", "fork", "star", "create", "delete"]
    callers = [(Caller.of(forge.organization), word) for word in words]

    together(*[lambda pair=pair: edit(pair[0], hook, add_events=[pair[1]]) for pair in callers])

    assert set(Webhook.objects.get().events) == {"push", *words}


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        (["push"], ["push", "issues"], True),
        (["push"], ["issues"], False),
        (["*"], ["issues"], True),
        (["issues"], ["*"], True),
    ],
)
def test_hooks_may_share_a_place_but_no_event(
    caller: Caller, first: list[str], second: list[str], is_same: bool
) -> None:
    create(caller, events=first)

    create(caller, events=second, status=422 if is_same else 201)
    create(caller, events=second, content_type="json")

    assert Webhook.objects.count() == (2 if is_same else 3)


# Pings and tests of a hook ------------------------------------------------------------------------------------------


def test_a_test_sends_the_latest_push_to_this_hook_alone(
    forge: Forge, caller: Caller, receiver: Receiver, sender: Sender
) -> None:
    hook = create(caller, receiver.url("/one"), content_type="json")
    create(caller, receiver.url("/two"), content_type="json")
    gadgets = Repository.objects.create(organization=forge.organization, name="gadgets")
    for repository, number in [("widgets", 1), ("widgets", 2), (gadgets.name, 3)]:
        caller.post("/v1/events", {"type": "push", "repository": repository, "data": {"number": number}})
    caller.post("/v1/events", {"type": "issues", "repository": "widgets", "data": {"number": 4}})
    deliver(sender)
    before = len(receiver.received)

    assert caller.post(f"{HOOKS}/{hook['id']}/tests", {}).status_code == 204
    deliver(sender)

    [request] = receiver.received[before:]
    assert (request.path, json.loads(request.body)) == ("/one", {"number": 2})
    assert request.headers["x-socialgateway-event"] == "push"


def test_a_test_of_a_repository_without_a_push_sends_the_documented_one(
    caller: Caller, receiver: Receiver, sender: Sender
) -> None:
    hook = create(caller, receiver.url("/"), content_type="json")

    caller.post(f"{HOOKS}/{hook['id']}/test", {})
    deliver(sender)

    assert json.loads(receiver.received[0].body)["ref"].startswith("refs/")


@pytest.mark.parametrize("word", ["tests", "pings"])
def test_nothing_is_sent_to_a_hook_that_is_not_active(caller: Caller, word: str) -> None:
    hook = create(caller)
    edit(caller, hook, active=False)

    assert caller.post(f"{HOOKS}/{hook['id']}/{word}", {}).status_code == 204
    assert (Event.objects.count(), Delivery.objects.count()) == (0, 0)


def test_a_hook_made_inactive_is_never_owed_anything(caller: Caller, sender: Sender) -> None:
    answer = caller.post(HOOKS, {"config": {"url": HERE}, "active": False})
    caller.post("/v1/events", {"type": "push", "repository": "widgets", "data": {}})
    deliver(sender)

    assert (answer.status_code, answer.json()["active"], Delivery.objects.count()) == (201, False, 0)


# The log ------------------------------------------------------------------------------------------------------------


def test_how_the_last_attempt_went_is_told(caller: Caller, receiver: Receiver, sender: Sender) -> None:
    receiver.answers["/"] = [Answer(404), Answer(200)]
    hook = create(caller, receiver.url("/"))

    seen = []
    for _ in range(2):
        caller.post(f"{HOOKS}/{hook['id']}/pings", {})
        deliver(sender)
        seen.append(caller.get(f"{HOOKS}/{hook['id']}").json()["last_response"])

    assert seen == [
        {"code": 404, "status": "failed", "message": "Invalid HTTP Response: 404"},
        {"code": 200, "status": "active", "message": "OK"},
    ]
    assert caller.get(HOOKS).json()[0]["last_response"] == seen[1]


def test_an_attempt_without_an_answer_is_told_as_what_it_was(caller: Caller, sender: Sender) -> None:
    hook = create(caller, "http://127.0.0.1:9997/")
    caller.post(f"{HOOKS}/{hook['id']}/pings", {})
    deliver(sender)

    [row] = caller.get(f"{HOOKS}/{hook['id']}/deliveries").json()
    whole = caller.get(f"{HOOKS}/{hook['id']}/deliveries/{row['id']}").json()

    error = Attempt.objects.get().error
    assert (row["status_code"], row["event"], row["status"]) == (0, "ping", error)
    assert error != ""
    assert whole["response"] == {"headers": {}, "payload": ""}
    assert whole["request"]["payload"]["hook_id"] == hook["id"]


def test_the_log_is_read_from_page_to_page(forge: Forge, caller: Caller, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now, repository=forge.repository, format="github")
    forge.accept(7, now=now)
    deliver_due(sender, now=now)
    address, seen, pages = f"{HOOKS}/{webhook.pk}/deliveries?per_page=3", [], 0

    with freeze_time(now):
        while address:
            answer = caller.get(address)
            seen += [row["id"] for row in answer.json()]
            pages += 1
            link = answer.headers.get("Link", "")
            assert link == "" or link.endswith('>; rel="next"')
            address = link.partition(">")[0].removeprefix("<http://testserver")

    assert (pages, seen) == (3, sorted(seen, reverse=True))
    assert set(seen) == {number_of(attempt) for attempt in Attempt.objects.values_list("id", flat=True)}


@pytest.mark.parametrize(("status", "sizes"), [("failure", [0, 2, 1, 0]), ("success", [2, 2, 1, 2, 2, 1])])
def test_a_page_of_one_status_looks_at_a_bounded_number_of_attempts(
    forge: Forge, caller: Caller, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch,
    status: str, sizes: list[int],
) -> None:  # fmt: skip
    monkeypatch.setattr(attempts_by_status, "MAX_READ", 4)
    webhook = forge.webhook(now=now, repository=forge.repository, format="github")
    forge.webhook(now=now, repository=forge.repository, format="github", path="/other")
    forge.receiver.answers["/"] = [Answer(404 if place in {5, 6, 8} else 200) for place in range(13)]
    for _ in range(13):
        forge.accept(now=now)
        deliver_due(sender, now=now)
    address, pages = f"{HOOKS}/{webhook.pk}/deliveries?status={status}&per_page=2", []

    with freeze_time(now):
        while address:
            answer = caller.get(address)
            pages.append([row["id"] for row in answer.json()])
            address = answer.headers.get("Link", "").partition(">")[0].removeprefix("<http://testserver")

    attempts = Attempt.objects.filter(webhook=webhook).order_by("-id")
    wanted = [each.id for each in attempts if (each.outcome == "delivered") == (status == "success")]
    assert [number for page in pages for number in page] == [number_of(each) for each in wanted]
    assert [len(page) for page in pages] == sizes


def test_another_hooks_delivery_is_not_found_under_this_one(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    one, two = (forge.webhook(now=now, repository=forge.repository, path=path) for path in ("/1", "/2"))
    forge.accept(now=now)
    deliver_due(sender, now=now)
    number = number_of(Attempt.objects.get(webhook=one).id)

    with freeze_time(now):
        found = [caller.get(f"{HOOKS}/{hook.pk}/deliveries/{number}").status_code for hook in (one, two)]
        again = caller.post(f"{HOOKS}/{two.pk}/deliveries/{number}/attempts", {}).status_code

    assert (found, again) == ([200, 404], 404)


def test_of_attempts_with_the_same_number_all_are_sent_again(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, repository=forge.repository)
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    made = uuid7(now).int
    twins = [UUID(int=made ^ rest << 20) for rest in (0, 1)]
    for attempt, twin in zip(Attempt.objects.order_by("id"), twins, strict=True):
        Attempt.objects.filter(pk=attempt.pk).update(id=twin)

    with freeze_time(now):
        answer = caller.post(f"{HOOKS}/{webhook.pk}/deliveries/{number_of(twins[0])}/attempts", {})

    assert (number_of(twins[0]), answer.status_code) == (number_of(twins[1]), 202)
    assert list(Delivery.objects.values_list("redeliveries", flat=True)) == [1, 1]


def test_a_hook_that_is_not_active_gets_nothing_again(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, repository=forge.repository)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    edit(caller, {"id": webhook.pk}, active=False)

    with freeze_time(now):
        number = number_of(Attempt.objects.get().id)
        answer = caller.post(f"{HOOKS}/{webhook.pk}/deliveries/{number}/attempts", {})

    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "custom")
    assert Delivery.objects.get().redeliveries == 0


# Services -----------------------------------------------------------------------------------------------------------


def test_the_services_are_listed_with_what_they_take(caller: Caller) -> None:
    rows = {row["name"]: row for row in caller.get("/hooks").json()}

    assert list(rows) == ["web", "slack", "discord", "campfire"]
    assert ["string", "content_type"] in rows["web"]["schema"]
    assert rows["slack"]["schema"] == [["password", "url"]]
    assert {"push", "pull_request", "issues"} <= set(rows["web"]["events"])


def test_a_chat_gets_words(caller: Caller, receiver: Receiver, sender: Sender) -> None:
    hook = caller.post(HOOKS, {"name": "slack", "config": {"url": receiver.url("/services/verysecret")}}).json()
    caller.post(f"{HOOKS}/{hook['id']}/tests", {})
    deliver(sender)

    assert (hook["name"], "text" in json.loads(receiver.received[0].body)) == ("slack", True)
    assert "verysecret" not in caller.get(f"{HOOKS}/{hook['id']}").content.decode()


def test_a_secret_is_not_for_a_service(caller: Caller) -> None:
    wanted = {"name": "slack", "config": {"url": "https://hooks.slack.com/services/a", "secret": "s"}}

    answer = caller.post(HOOKS, wanted)

    assert (answer.status_code, faults(answer.json())) == (422, [("secret", "invalid")])


ROOM = {"subdomain": "Widgets", "room": "Commits & more", "token": "abc123"}


def test_a_campfire_is_a_room_and_a_token(caller: Caller) -> None:
    answer = caller.post(HOOKS, {"name": "campfire", "config": ROOM})

    hook = answer.json()
    shown = {"subdomain": "widgets", "room": "Commits & more", "token": "********"}
    assert (answer.status_code, hook["name"], hook["config"]) == (201, "campfire", shown)
    assert Webhook.objects.get().url == "https://widgets.campfirenow.com/room/Commits%20%26%20more/speak.json"
    assert headers_of(hook) == {"Authorization": "Basic YWJjMTIzOlg="}
    # What was read can be sent back, and the token is kept for another room of the same subdomain.
    assert edit(caller, hook, config={**shown, "room": "7"})["config"] == {**shown, "room": "7"}
    assert headers_of(hook) == {"Authorization": "Basic YWJjMTIzOlg="}
    elsewhere = edit(caller, hook, status=422, config={**shown, "subdomain": "evil"})
    assert faults(elsewhere) == [("token", "invalid")]
    assert caller.patch(f"{HOOKS}/{hook['id']}/config", {"token": "new"}).json() == {**shown, "room": "7"}
    assert headers_of(hook) == {"Authorization": "Basic bmV3Olg="}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"token": None}, ("token", "missing_field")),
        ({"token": "********"}, ("token", "invalid")),
        ({"token": "a:b"}, ("token", "invalid")),
        ({"subdomain": "evil.example/"}, ("subdomain", "invalid")),
        ({"subdomain": "a@b"}, ("subdomain", "invalid")),
        ({"subdomain": 7}, ("subdomain", "invalid")),
        ({"room": ""}, ("room", "invalid")),
        ({"room": "a\0b"}, ("room", "invalid")),
    ],
)
def test_a_campfire_that_is_no_room_is_refused(caller: Caller, change: dict[str, Any], fault: tuple[str, str]) -> None:
    answer = caller.post(HOOKS, {"name": "campfire", "config": {**ROOM, **change}})

    assert (answer.status_code, faults(answer.json())) == (422, [fault])
    assert not Webhook.objects.exists()


def test_a_room_is_told_in_one_line(
    forge: Forge, caller: Caller, receiver: Receiver, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now, repository=forge.repository, format="campfire", headers={"Authorization": "Basic dDpY"})
    caller.post(
        "/v1/events",
        {
            "type": "issues", "repository": "widgets",
            "data": {"action": "opened", "issue": {"number": 7, "title": "It\nburns", "html_url": "https://e.example/7"},
                     "sender": {"login": "ada"}},
        },
    )  # fmt: skip
    deliver(sender)

    [request] = receiver.received
    assert request.headers["authorization"] == "Basic dDpY"
    assert json.loads(request.body) == {
        "message": {
            "type": "TextMessage", "body": "[acme/widgets] issue #7 opened by ada: It burns https://e.example/7",
        }
    }  # fmt: skip
    assert caller.get(HOOKS).json()[0]["config"] == {"url": receiver.url("/"), "token": "********"}


@pytest.mark.parametrize("wire_format", ["campfire", "github", "slack", "standard-webhooks"])
def test_a_polling_webhook_has_the_same_config_and_refusals_in_every_format(
    caller: Caller, forge: Forge, wire_format: str
) -> None:
    fields = {"kind": "poll", "events": ["push"], "repository": "widgets", "format": wire_format}
    assert caller.post("/v1/webhooks", fields).status_code == 201
    [hook] = caller.get(HOOKS).json()
    address = f"{HOOKS}/{hook['id']}"

    # A client may send back what it has read.
    assert edit(caller, hook, config=hook["config"])["config"] == hook["config"]
    refused = [
        caller.patch(address, {"config": {"url": HERE}}),
        caller.patch(f"{address}/config", {"url": HERE}),
        caller.patch(address, {"config": {"url": HERE, **ROOM}}),
    ]

    assert hook["config"]["url"] == ""
    assert [answer.status_code for answer in refused] == [422] * 3
    assert [answer.json()["message"] for answer in refused] == ["Validation Failed"] * 3
    assert [faults(answer.json()) for answer in refused] == [[("url", "invalid")]] * 3

"""The hub in GitHub's way: a subscription is a hook like any other."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone
from pytest_django import Settings

from deliveries import pipeline, vault
from deliveries.formats import MASK
from deliveries.models import AuditEntry, Organization, Repository, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import fields as webhook_fields
from deliveries.webhooks import lifecycle
from hookhub.dialects.social_gateway.hub.forms import MAX_FIELDS, URLENCODED
from hookhub.event_types import registry
from hookhub.models import Scope
from tests.api import Caller
from tests.receiver import Receiver
from tests.story import Forge, deliver_due, together

pytestmark = pytest.mark.django_db

HOOKS = "/repos/acme/widgets/hooks"
HERE = "http://127.0.0.1:9999/hook"
ROOM = "socialgateway://campfire?subdomain=socialgateway&room=Commits&token=abc123"
INVALID = "Validation Failed"


@pytest.fixture
def caller(forge: Forge) -> Caller:
    return Caller.of(forge.organization)


def topic(event: str = "push", repository: str = "acme/widgets") -> str:
    return f"https://github.com/{repository}/events/{event}"


def form(event: str = "push", callback: str = HERE, *, mode: str = "subscribe", **more: str) -> dict[str, str]:
    named = {f"hub.{name}": value for name, value in more.items()}
    return {"hub.mode": mode, "hub.topic": topic(event), "hub.callback": callback, **named}


def ask(caller: Caller, fields: Any, *, at: str = "/hub", **headers: str) -> Any:
    """Send a form, multipart as `curl -F` does, with curl's Accept header unless another is given."""
    content = fields if isinstance(fields, bytes) else encode_multipart(BOUNDARY, fields)
    return caller.post(at, content, content_type=MULTIPART_CONTENT, headers={"Accept": "*/*", **headers})


def subscribe(caller: Caller, event: str = "push", callback: str = HERE, **more: str) -> None:
    answer = ask(caller, form(event, callback, **more))
    assert (answer.status_code, answer.content) == (204, b"")


def unsubscribe(caller: Caller, event: str = "push", callback: str = HERE) -> None:
    answer = ask(caller, form(event, callback, mode="unsubscribe"))
    assert (answer.status_code, answer.content) == (204, b"")


def refusal(answer: Any) -> tuple[int, list[tuple[str, str]]]:
    return answer.status_code, [(row["field"], row["code"]) for row in answer.json()["errors"]]


def events() -> list[list[str]]:
    return [webhook.events for webhook in Webhook.objects.kept().order_by("pk")]


def only() -> Webhook:
    return Webhook.objects.kept().get()


def secrets_of(webhook: Webhook) -> list[str]:
    return [secret.text for secret in vault.secrets_of(webhook)]


def publish(caller: Caller, event: str, data: object) -> None:
    assert caller.post("/v1/events", {"type": event, "repository": "widgets", "data": data}).status_code == 202


def deliver(sender: Sender) -> None:
    now = timezone.now() + timedelta(seconds=1)
    pipeline.fan_out(now=now)
    deliver_due(sender, now=now)


# The demands of the specification, in its order ---------------------------------------------------------------------


@pytest.mark.parametrize("at", ["/hub", "/api/v3/hub"])
@pytest.mark.parametrize("content_type", [MULTIPART_CONTENT, URLENCODED, f"{URLENCODED}; charset=utf-8"])
@pytest.mark.parametrize("way", ["Bearer {key}", "token {key}", "Basic {basic}"])
def test_1_both_addresses_read_both_forms_with_every_credential(
    forge: Forge, caller: Caller, at: str, content_type: str, way: str
) -> None:
    fields = form()
    content = encode_multipart(BOUNDARY, fields) if "multipart" in content_type else urlencode(fields).encode()
    basic = base64.b64encode(f"octocat:{caller.key}".encode()).decode()

    answer = Client().generic(
        "POST", at, content, content_type, headers={"Authorization": way.format(key=caller.key, basic=basic)}
    )

    assert (answer.status_code, answer.content) == (204, b"")
    assert (only().url, only().events, only().repository) == (HERE, ["push"], forge.repository)


def test_2_a_topic_is_at_a_host_of_the_service_or_one_that_is_configured(caller: Caller, settings: Settings) -> None:
    settings.HOOKHUB_PUBLIC_URL = "https://hooks.example.org"
    settings.HOOKHUB_TOPIC_HOSTS = ("github.com", "example.net")
    hosts = [
        "github.com", "GITHUB.com:443", "testserver", "127.0.0.1:8000", "[::1]:8000", "hooks.example.org",
        "example.net",
    ]  # fmt: skip

    for host in hosts:
        answer = ask(caller, {**form(), "hub.topic": f"http://{host}/ACME/Widgets/events/push.json"})
        assert answer.status_code == 204, host
    refused = ask(caller, {**form(), "hub.topic": "http://socialgateway.net/acme/widgets/events/issues"})

    assert refusal(refused) == (422, [("hub.topic", "invalid")])
    assert events() == [["push"]]


@pytest.mark.parametrize(
    ("event", "accept", "content_type"),
    [
        ("push", "*/*", "application/x-www-form-urlencoded"),
        ("push", "application/vnd.github.v3+json", "application/x-www-form-urlencoded"),
        ("push", "application/json", "application/json"),
        ("push.json", "*/*", "application/json"),
    ],
)
def test_3_the_payload_is_a_form_unless_json_is_asked_for(
    caller: Caller, receiver: Receiver, sender: Sender, event: str, accept: str, content_type: str
) -> None:
    assert ask(caller, form(event, receiver.url("/updates")), Accept=accept).status_code == 204
    publish(caller, "push", {"ref": "refs/heads/é"})
    deliver(sender)

    [request] = receiver.received
    sent = request.body if content_type == "application/json" else parse_qs(request.body.decode())["payload"][0]
    assert (request.headers["content-type"], json.loads(sent)) == (content_type, {"ref": "refs/heads/é"})


def test_4_a_callback_is_a_url_or_a_service(caller: Caller) -> None:
    subscribe(caller, "push", HERE)
    subscribe(caller, "push", ROOM)
    subscribe(caller, "push", "socialgateway://slack?url=https%3A%2F%2Fhooks.slack.com%2Fservices%2Fa")

    shown = [(hook["name"], hook["events"], hook["config"]) for hook in caller.get(HOOKS).json()]

    assert shown == [
        ("web", ["push"], {"url": HERE, "content_type": "form", "insecure_ssl": "0"}),
        ("campfire", ["push"], {"subdomain": "socialgateway", "room": "Commits", "token": MASK}),
        ("slack", ["push"], {"url": f"https://hooks.slack.com/{MASK}", "content_type": "json", "insecure_ssl": "0"}),
    ]


def test_5_a_repeated_request_changes_the_hook_and_events_come_and_go(caller: Caller) -> None:
    subscribe(caller, "push", secret="old")
    hook = only().pk

    subscribe(caller, "push.json", secret="new")
    assert (only().pk, only().content_type, secrets_of(only()), events()) == (hook, "json", ["new"], [["push"]])
    subscribe(caller, "issues", secret="new")
    assert (only().pk, only().content_type, events()) == (hook, "form", [["push", "issues"]])
    unsubscribe(caller, "push")
    assert (only().pk, secrets_of(only()), events()) == (hook, ["new"], [["issues"]])
    unsubscribe(caller, "issues")
    assert events() == []
    subscribe(caller, "release")
    assert (only().pk > hook, events(), secrets_of(only())) == (True, [["release"]], [])


@pytest.mark.parametrize("event", ["push", "push.json"])
def test_6_the_secret_signs_the_body_as_it_is_sent(
    caller: Caller, receiver: Receiver, sender: Sender, event: str
) -> None:
    secret = "é" * 99
    subscribe(caller, event, receiver.url("/updates"), secret=secret)
    publish(caller, "push", {"ref": "refs/heads/main", "of": "é & ü"})
    deliver(sender)

    [request] = receiver.received
    for name, digest in [("x-hub-signature", hashlib.sha1), ("x-hub-signature-256", hashlib.sha256)]:
        wanted = hmac.new(secret.encode(), request.body, digest)
        assert request.headers[name] == f"{wanted.name.removeprefix('hmac-')}={wanted.hexdigest()}"
    assert request.headers["x-socialgateway-event"] == "push"


def test_6_without_a_secret_there_is_no_signature(caller: Caller, receiver: Receiver, sender: Sender) -> None:
    subscribe(caller, "push", receiver.url("/"), secret="old")
    subscribe(caller, "push", receiver.url("/"))
    publish(caller, "push", {})
    deliver(sender)

    assert not [name for name in receiver.received[0].headers if name.startswith("x-hub")]


def test_7_a_hook_of_the_hub_is_one_of_the_repository_and_the_other_way_round(caller: Caller) -> None:
    subscribe(caller, "push", HERE, secret="s")
    [hook] = caller.get(HOOKS).json()
    assert (hook["name"], hook["active"], hook["events"]) == ("web", True, ["push"])
    assert hook["config"] == {"url": HERE, "content_type": "form", "insecure_ssl": "0", "secret": MASK}
    assert caller.delete(f"{HOOKS}/{hook['id']}").status_code == 204

    config = {"url": "HTTP://127.0.0.1:9999", "insecure_ssl": "1", "content_type": "json", "secret": "s"}
    made = caller.post(HOOKS, {"config": config, "events": ["push", "issues"]}).json()
    subscribe(caller, "release", "http://127.0.0.1:9999/", secret="t")

    [hook] = caller.get(HOOKS).json()
    assert (hook["id"], hook["events"]) == (made["id"], ["push", "issues", "release"])
    # The hub has no field for the certificate, so the hook's own setting stays.
    assert hook["config"] == {
        "url": "http://127.0.0.1:9999/", "insecure_ssl": "1", "content_type": "form", "secret": MASK,
    }  # fmt: skip
    assert secrets_of(only()) == ["t"]
    for event in ("push", "issues", "release"):
        unsubscribe(caller, event, "http://127.0.0.1:9999/")
    assert caller.get(HOOKS).json() == []


def test_8_each_refusal_has_githubs_status_and_words_and_changes_nothing(caller: Caller) -> None:
    unknown = ask(caller, form("pushed"))
    assert (unknown.status_code, unknown.json()) == (422, {"message": 'Invalid event: "pushed"'})
    missing = ask(caller, {"hub.topic": topic()})
    assert missing.json() == {
        "message": INVALID,
        "errors": [
            {"resource": "Hook", "field": "hub.mode", "code": "missing_field"},
            {"resource": "Hook", "field": "hub.callback", "code": "missing_field"},
        ],
    }
    assert missing.status_code == 422
    assert refusal(ask(caller, form(mode="publish"))) == (422, [("hub.mode", "invalid")])
    nowhere = ask(caller, {**form(), "hub.topic": topic(repository="acme/nowhere")})
    assert (nowhere.status_code, nowhere.json()) == (404, {"message": "Not Found"})
    stranger = Client().post("/hub", form(), headers={"Authorization": "Bearer hh_unknown_key"})
    assert (stranger.status_code, stranger.json()) == (401, {"message": "Bad credentials"})
    assert not Webhook.objects.exists()


# Subscribing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["*", "%2A"])
def test_every_event_is_a_topic_of_its_own(caller: Caller, receiver: Receiver, sender: Sender, word: str) -> None:
    subscribe(caller, word, receiver.url("/"))
    subscribe(caller, "push", receiver.url("/"))
    publish(caller, "push", {})
    publish(caller, "issues", {"action": "opened"})
    deliver(sender)

    # A hook gets each event once, whatever it subscribes to.
    assert sorted(request.headers["x-socialgateway-event"] for request in receiver.received) == ["issues", "push"]
    unsubscribe(caller, word, receiver.url("/"))
    assert events() == [["push"]]


def test_the_organizations_own_events_are_topics_too(forge: Forge, caller: Caller) -> None:
    wanted = {"type": "build.json", "description": "A build."}
    registry.register(wanted, organization=forge.organization, now=timezone.now())

    subscribe(caller, "build.json.json")
    assert (events(), only().content_type) == ([["build.json"]], "json")
    # Without a second suffix it is the family's topic.
    subscribe(caller, "build.json")
    assert events() == [["build.json", "build"]]


def test_a_disabled_hook_is_enabled(caller: Caller) -> None:
    subscribe(caller)
    lifecycle.disable(only().pk, now=timezone.now())

    subscribe(caller)

    assert only().active


def test_a_hook_of_the_organization_or_of_another_repository_is_not_the_topics(forge: Forge, caller: Caller) -> None:
    now = timezone.now()
    other = Repository.objects.create(organization=forge.organization, name="gadgets")
    for repository in (None, other):
        forge.webhook(now=now, url=HERE, repository=repository, format="social-gateway")
    forge.webhook(now=now, url=HERE, repository=forge.repository, format="standard-webhooks")

    subscribe(caller, "push")
    unsubscribe(caller, "push")

    assert events() == [["*"], ["*"], ["*"]]


def test_of_several_hooks_with_the_url_the_one_with_the_event_is_changed(caller: Caller) -> None:
    for event, content_type in [("push", "form"), ("issues", "json")]:
        caller.post(HOOKS, {"events": [event], "config": {"url": HERE, "content_type": content_type}})

    subscribe(caller, "issues")
    subscribe(caller, "release")

    assert [(each.events, each.content_type) for each in Webhook.objects.order_by("pk")] == [
        (["push", "release"], "form"), (["issues"], "form"),
    ]  # fmt: skip


def test_unsubscribing_ends_all_updates_of_the_topic(caller: Caller) -> None:
    for word, content_type in [("push", "form"), ("push", "json")]:
        caller.post(HOOKS, {"events": [word, "fork"], "config": {"url": HERE, "content_type": content_type}})

    unsubscribe(caller, "push")

    assert events() == [["fork"], ["fork"]]


def test_what_is_not_subscribed_can_be_unsubscribed(caller: Caller) -> None:
    unsubscribe(caller, "push")
    subscribe(caller, "issues")
    unsubscribe(caller, "push")
    unsubscribe(caller, "issues", f"{HERE}/other")

    assert events() == [["issues"]]
    assert ask(caller, form("pushed", mode="unsubscribe")).json() == {"message": 'Invalid event: "pushed"'}


def test_an_event_that_is_no_longer_known_can_be_unsubscribed(forge: Forge, caller: Caller) -> None:
    forge.webhook(
        now=timezone.now(),
        url=HERE,
        repository=forge.repository,
        format="github",
        secret="",
        events=["push", "old.one"],
    )

    unsubscribe(caller, "old.one")

    assert events() == [["push"]]


def test_the_query_belongs_to_the_callback_and_stays_secret(caller: Caller) -> None:
    for token in ("a", "b"):
        subscribe(caller, "push", f"{HERE}?token={token}")
    subscribe(caller, "issues", f"{HERE}?token=a")

    masked = ask(caller, form("push", f"{HERE}?token={MASK}", mode="unsubscribe"))

    assert events() == [["push", "issues"], ["push"]]
    assert refusal(masked) == (422, [("hub.callback", "invalid")])
    assert [hook["config"]["url"] for hook in caller.get(HOOKS).json()] == [f"{HERE}?token={MASK}"] * 2


def test_a_password_in_the_callback_is_sent_as_a_header(caller: Caller) -> None:
    subscribe(caller, "push", "http://user:pass@127.0.0.1:9999/hook")
    assert (only().url, vault.headers_of(only())) == (HERE, {"Authorization": "Basic dXNlcjpwYXNz"})

    subscribe(caller, "push", HERE)
    assert vault.headers_of(only()) == {}


def test_a_service_has_one_hook_which_a_repeated_request_changes(caller: Caller) -> None:
    subscribe(caller, "push", ROOM)
    subscribe(caller, "issues", ROOM.replace("Commits", "7"))

    [hook] = caller.get(HOOKS).json()
    assert (hook["events"], hook["config"]["room"]) == (["push", "issues"], "7")
    unsubscribe(caller, "push", ROOM)
    unsubscribe(caller, "issues", "socialgateway://campfire")
    assert events() == []


def test_a_hook_has_as_many_events_as_elsewhere(forge: Forge, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["issues", *[f"a.n{number}" for number in range(webhook_fields.MAX_EVENTS - 1)]]
    for fields in ({"url": HERE, "format": "github"}, {"url": "https://a.campfirenow.com/room/1/speak.json"}):
        forge.webhook(now=timezone.now(), repository=forge.repository, events=words, **{"format": "campfire", **fields})

    answers = [ask(caller, form("push", callback, secret=secret)) for callback, secret in [(HERE, "s"), (ROOM, "")]]

    assert [refusal(answer) for answer in answers] == [(422, [("hub.topic", "invalid")])] * 2
    assert events() == [words, words]
    assert "room/1/" in Webhook.objects.get(format="campfire").url


def test_the_response_warns_that_the_headers_are_not_githubs(forge: Forge, caller: Caller) -> None:
    warned = ask(caller, form())
    Organization.objects.update(default_format="github")
    silent = ask(caller, form(callback=f"{HERE}/2"))

    assert ["X-HookHub-Notice" in answer.headers for answer in (warned, silent)] == [True, False]
    assert [webhook.format for webhook in Webhook.objects.order_by("pk")] == ["social-gateway", "github"]


def test_the_audit_log_names_the_key_and_what_it_did(caller: Caller) -> None:
    subscribe(caller, "push", secret="s3cret")
    subscribe(caller, "issues", secret="s3cret")
    unsubscribe(caller, "issues")
    unsubscribe(caller, "push")

    entries = list(AuditEntry.objects.filter(action__startswith="webhook.").order_by("pk"))
    assert [entry.action for entry in entries] == [
        "webhook.created", "webhook.updated", "webhook.updated", "webhook.deleted",
    ]  # fmt: skip
    assert {entry.actor_kind for entry in entries} == {"api_key"}
    assert "s3cret" not in repr([(entry.before, entry.after) for entry in entries])


# Concurrent requests ------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("callback", [HERE, "socialgateway://slack?url=https%3A%2F%2Fhooks.slack.com%2Fa"])
@pytest.mark.parametrize("limit", [0, 1])
def test_subscribers_at_once_make_one_hook_with_the_events_of_all(
    forge: Forge, settings: Settings, callback: str, limit: int
) -> None:
    # With a limit of one, all but the first find the limit reached, and change the first one's hook.
    settings.HOOKHUB_WEBHOOKS_PER_URL = settings.HOOKHUB_WEBHOOKS_PER_ORGANIZATION = limit
    words = ["push", "issues", "release", "fork"]
    callers = [(Caller.of(forge.organization), word) for word in words]

    together(*[lambda pair=pair: subscribe(pair[0], pair[1], callback) for pair in callers])

    assert set(only().events) == set(words)


@pytest.mark.django_db(transaction=True)
def test_events_that_come_and_go_at_once_are_all_counted(forge: Forge) -> None:
    words = ["push", "issues", "release", "fork"]
    for word in words[:2]:
        subscribe(Caller.of(forge.organization), word)
    steps = [(Caller.of(forge.organization), word, act)
             for word, act in zip(words, [unsubscribe, unsubscribe, subscribe, subscribe], strict=True)]  # fmt: skip

    together(*[lambda step=step: step[2](step[0], step[1]) for step in steps])

    assert sorted(events()) == [["fork", "release"]] or sorted(events()) == [["release", "fork"]]


# Adversaries --------------------------------------------------------------------------------------------------------


def test_a_key_of_another_organization_learns_nothing(forge: Forge, caller: Caller) -> None:
    subscribe(caller)
    stranger = Caller.of(Organization.objects.create(slug="other"))
    asked = [form(), form("pushed"), form(mode="unsubscribe"), form(callback="http://10.0.0.1/"), form(secret="s")]

    there = [ask(stranger, fields) for fields in asked]
    nowhere = [ask(stranger, {**fields, "hub.topic": topic(repository="nobody/nothing")}) for fields in asked]

    for one, other in zip(there, nowhere, strict=True):
        assert (one.status_code, one.content) == (404, b'{"message":"Not Found"}')
        assert (other.status_code, other.content) == (404, one.content)
    assert (events(), secrets_of(only())) == ([["push"]], [])


@pytest.mark.parametrize("scope", [Scope.READ, Scope.PUBLISH])
@pytest.mark.parametrize("mode", ["subscribe", "unsubscribe"])
def test_a_key_that_may_not_manage_changes_no_hook(forge: Forge, caller: Caller, scope: Scope, mode: str) -> None:
    subscribe(caller, "issues")
    before = caller.get(HOOKS).json()

    answer = ask(Caller.of(forge.organization, scope), form("issues", mode=mode, secret="s"))

    # It has asked in WebSub's way for a subscription of its own.
    assert (answer.status_code, answer.content) == (202, b"")
    assert caller.get(f"{HOOKS}/{before[0]['id']}").json() == before[0]
    assert secrets_of(Webhook.objects.get(subscription__isnull=True)) == []


def test_webhooks_that_need_a_master_key_need_one_here(forge: Forge) -> None:
    Organization.objects.update(default_dialect="coregit")

    answers = [ask(Caller.of(forge.organization, scope), form()) for scope in (Scope.MANAGE, Scope.MASTER)]

    assert [answer.status_code for answer in answers] == [403, 204]


def test_an_operators_key_finds_the_organization_by_the_topic(operator: Caller, forge: Forge) -> None:
    subscribe(operator)

    assert only().repository == forge.repository


def test_a_browsers_session_is_no_key(forge: Forge) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("root"))

    answer = browser.post("/hub", form())

    # Without a key it has asked in WebSub's way, and will be denied the private topic.
    assert answer.status_code == 202
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    ("callback", "names"),
    [
        ("http://10.0.0.1/", "hub.callback"), ("http://169.254.169.254/latest", "hub.callback"),
        ("http://[::ffff:10.0.0.1]/", "hub.callback"), ("http://127.0.0.1:22/", "hub.callback"),
        ("http://testserver/v1/events", "hub.callback"), ("socialgateway://lighthouse?token=1", "hub.callback"),
        ("socialgateway://slack?url=http%3A%2F%2F10.0.0.1%2F", "hub.callback"),
        ("socialgateway://slack", "hub.callback"), ("socialgateway://campfire?room=1&token=a%3Ab", "hub.callback"),
        ("http://us%3Aer:pass@127.0.0.1:9999/", "hub.callback"), ("http://********@127.0.0.1:9999/", "hub.callback"),
    ],
)  # fmt: skip
def test_a_callback_that_may_not_be_reached_is_refused(caller: Caller, callback: str, names: str) -> None:
    status, rows = refusal(ask(caller, form(callback=callback)))

    assert (status, {name for name, _ in rows}, {code for _, code in rows}) == (422, {names}, {"invalid"})
    assert not Webhook.objects.exists()


@pytest.mark.parametrize("secret", ["x" * 200, "é" * 100, "a\nb", "\x7f", MASK])
def test_a_secret_that_cannot_be_used_is_refused(caller: Caller, secret: str) -> None:
    assert refusal(ask(caller, form(secret=secret))) == (422, [("hub.secret", "invalid")])
    assert not Webhook.objects.exists()


def test_limits_on_webhooks_hold_here(caller: Caller, settings: Settings) -> None:
    settings.HOOKHUB_WEBHOOKS_PER_ORGANIZATION = 1
    subscribe(caller, "push")
    subscribe(caller, "issues")

    answer = ask(caller, form(callback=f"{HERE}/2"))

    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (
        422, "has reached its limit of 1 webhook; delete one, or ask the operator to raise the limit",
    )  # fmt: skip
    settings.HOOKHUB_WEBHOOK_CHANGES = 1
    for number in range(3):
        answer = ask(caller, form(callback=f"{HERE}/{number}"))
    assert (answer.status_code, "Retry-After" in answer.headers) == (429, True)
    assert events() == [["push", "issues"]]


def test_the_rate_limit_is_told_as_everywhere(caller: Caller, settings: Settings) -> None:
    settings.HOOKHUB_REQUESTS_PER_KEY = 3

    answers = [ask(caller, fields) for fields in (form(), form("pushed"), form(mode="unsubscribe"), form())]

    assert [answer.status_code for answer in answers] == [204, 422, 204, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"3"}
    assert list(answers[-1].json()) == ["message"]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        pytest.param(urlencode(form()).encode() + b"&hub.secret=%FF", URLENCODED, 400, id="urlencoded, not UTF-8"),
        pytest.param(urlencode(form()).encode() + b"&a=\xff", URLENCODED, 400, id="urlencoded, raw and not UTF-8"),
        pytest.param(b"a=1&" * (MAX_FIELDS + 1), URLENCODED, 400, id="many fields"),
        pytest.param(b"&".join([b"=", b"a"] * 20), URLENCODED, 422, id="fields without names"),
        pytest.param(b"%00=%00&hub.mode=%00", URLENCODED, 422, id="NUL"),
        pytest.param(b"", URLENCODED, 422, id="nothing"),
        pytest.param(b"", MULTIPART_CONTENT, 422, id="nothing in multipart"),
        pytest.param(encode_multipart(BOUNDARY, form()).replace(b"hook", b"\xff"),
                     MULTIPART_CONTENT, 400, id="not UTF-8"),
        pytest.param(encode_multipart(BOUNDARY, {f"a{number}": "1" for number in range(MAX_FIELDS + 1)}),
                     MULTIPART_CONTENT, 400, id="many parts"),
        pytest.param(encode_multipart(BOUNDARY, {f"a{number}": "1" for number in range(3000)}),
                     MULTIPART_CONTENT, 400, id="more parts than the parser reads"),
        pytest.param(b"--x\r\n", "multipart/form-data", 400, id="no boundary"),
        pytest.param(b"--x\r\n", "multipart/form-data; boundary=\xe9", 400, id="a strange boundary"),
        pytest.param(b"garbage", MULTIPART_CONTENT, 422, id="garbage"),
        pytest.param(json.dumps(form()).encode(), "application/json", 415, id="JSON"),
        pytest.param(urlencode(form()).encode(), "text/plain", 415, id="text"),
        pytest.param(urlencode(form()).encode(), "", 415, id="no media type"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_form_is_refused(caller: Caller, content: bytes, content_type: str, status: int) -> None:
    answer = caller.post("/hub", content, content_type=content_type)

    assert (answer.status_code, next(iter(answer.json()))) == (status, "message")
    assert "JSON" not in answer.json()["message"]
    assert not Webhook.objects.exists()


def part(name: str, value: bytes, *, more: str = "") -> bytes:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def test_uploaded_files_are_no_fields(caller: Caller) -> None:
    rest = b"".join(part(name, value.encode()) for name, value in form().items() if name != "hub.callback")
    upload = part("hub.callback", HERE.encode(), more='; filename="a"')

    answer = ask(caller, rest + upload + f"--{BOUNDARY}--\r\n".encode())

    assert refusal(answer) == (422, [("hub.callback", "missing_field")])


@pytest.mark.parametrize("is_multipart", [True, False])
def test_of_repeated_fields_the_last_counts(caller: Caller, is_multipart: bool) -> None:
    pairs = [("hub.mode", "unsubscribe"), ("hub.topic", "x"), *form().items(), ("foo", "1"), ("hub.foo", "2")]
    content = b"".join(part(name, value.encode()) for name, value in pairs) + f"--{BOUNDARY}--\r\n".encode()

    answer = (
        ask(caller, content)
        if is_multipart
        else caller.post("/hub", urlencode(pairs).encode(), content_type=URLENCODED)
    )

    assert (answer.status_code, events()) == (204, [["push"]])


def test_fields_in_the_query_do_not_count(caller: Caller) -> None:
    answer = caller.post(f"/hub?{urlencode(form())}", b"", content_type=URLENCODED)

    assert (answer.status_code, Webhook.objects.exists()) == (422, False)


@pytest.mark.parametrize("repository", ["acme/%00", "acme%2Fwidgets/x", "%00/widgets", "acme/..", "*/*", "é/é"])
def test_a_topic_of_no_repository_is_refused(caller: Caller, operator: Caller, repository: str) -> None:
    for each in (caller, operator):
        answer = ask(each, {**form(), "hub.topic": topic(repository=repository)})
        assert answer.status_code == (422 if "%00" in repository else 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_the_hub_has_one_method(caller: Caller, method: str) -> None:
    answer = caller.send(method, "/hub", b"", content_type=URLENCODED)

    assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})


@pytest.mark.parametrize("path", ["/hub/", "/hub/x", "/v1/hub", "/api/hub", "/api/v3/hub/"])
def test_no_other_address_is_the_hub(caller: Caller, path: str) -> None:
    assert ask(caller, form(), at=path).status_code == 404
    assert not Webhook.objects.exists()


def test_a_delivery_cannot_subscribe(caller: Caller) -> None:
    answer = ask(caller, form(), **{"HookHub-Hops": "1"})

    assert (answer.status_code, Webhook.objects.exists()) == (422, False)

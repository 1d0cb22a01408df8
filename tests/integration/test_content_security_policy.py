"""No page of the admin, the browsable API or its documentation violates its own Content-Security-Policy."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from deliveries.models import Delivery, Event, Webhook
from deliveries.sending.sender import Sender
from hookhub.admin.base import page_of
from hookhub.alerts import channels
from hookhub.models import ApiKey, CustomEventType, Membership, Replay, Scope
from tests.documents import Document
from tests.pages import breaches
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(db: None) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("mona", "mona@example.com"))
    return client


@pytest.fixture
def full(forge: Forge, sender: Sender, client: Client) -> Forge:
    """Create an organization with a row of every kind, and untrusted text in most of them."""
    now = timezone.now()
    odd = "<script>alert(1)</script><img src=//evil.example/x onerror=alert(1)>"
    forge.receiver.answers["/"] = Answer(500, {"X-Odd": odd}, odd.encode())
    webhook = forge.webhook(now=now, name="<b onclick=alert(1)>hook", headers={"X-A": "b"})
    forge.accept(now=now, data={"text": odd})
    deliver_due(sender, now=now)
    CustomEventType.objects.create(organization=forge.organization, type="a.b", description=odd)
    ApiKey.issue(organization=forge.organization, scope=Scope.READ, name="<i>key", now=now)
    Membership.objects.create(user=User.objects.get(), organization=forge.organization)
    Group.objects.create(name="<u>group")
    made = channels.create({"type": "email", "name": "<i>ops"}, organization=forge.organization, now=now)
    channels.send_test(made.channel, now=now)
    Replay.objects.create(organization=forge.organization, asked={"a": odd}, selection={}, total=1, upto=webhook.uid)
    return forge


def pages_of_the_admin(client: Client) -> list[str]:
    """Return the URL of every page: of each model its list, its add form, and all pages of one row."""
    found = ["/admin/", "/admin/password_change/", "/admin/nowhere/", "/admin/jsi18n/"]
    for model, pages in admin.site._registry.items():
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        found += [base, f"{base}add/", f"{base}?q=00000000-0000-7000-8000-000000000000", f"{base}?e=1"]
        rows: list[Model] = list(model._default_manager.all()[:1])
        assert rows, model
        found += [page_of(row) for row in rows]
        found += [f"{page_of(row).removesuffix('change/')}{name}/" for row in rows for name in ("delete", "history")]
        assert pages.opts.model is model
    found += [f"/admin/{app}/" for app in ("deliveries", "hookhub", "auth")]
    [person] = User.objects.all()
    return [*found, f"/admin/auth/user/{person.pk}/password/"]


def faults_in(answer: Any) -> list[str]:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return breaches(content.decode(), answer.headers["Content-Security-Policy"])


def test_no_page_of_the_admin_holds_what_its_policy_forbids(full: Forge, client: Client) -> None:
    seen, faults = set(), {}
    for address in pages_of_the_admin(client):
        answer = client.get(address)
        if answer.headers.get("Content-Type", "").startswith("text/html") and answer.status_code != 302:
            seen.add(address)
            if found := faults_in(answer):
                faults[address] = found

    assert faults == {}
    assert len(seen) >= 3 * len(admin.site._registry)


def test_no_page_that_answers_a_form_of_the_admin_holds_what_its_policy_forbids(full: Forge, client: Client) -> None:
    hooks, log = "/admin/deliveries/webhook/", "/admin/deliveries/delivery/"
    webhook, delivery, key = Webhook.objects.get(), Delivery.objects.get(), ApiKey.objects.get()

    answers = {
        "a refused form": client.post(f"{hooks}add/", {"url": "javascript:alert(1)", "events": "<script>"}),
        "a rotated secret": client.post(f"{hooks}{webhook.pk}/act/", {"action": "rotate_secret"}, follow=True),
        "a ping": client.post(f"{hooks}{webhook.pk}/act/", {"action": "ping"}, follow=True),
        "a rolled key": client.post(f"/admin/hookhub/apikey/{key.pk}/act/", {"action": "roll"}, follow=True),
        "cancel?": client.post(log, {"action": "cancel", "_selected_action": [delivery.pk]}),
        "delete?": client.post(hooks, {"action": "delete_selected", "_selected_action": [webhook.pk]}),
        "popup": client.get("/admin/deliveries/repository/add/?_popup=1"),
        "popup answered": client.post(
            "/admin/deliveries/repository/add/?_popup=1",
            {"organization": full.organization.pk, "name": "popped", "_popup": "1"},
        ),
        "a refused login": Client().post("/admin/login/", {"username": "<script>", "password": "x"}),
        "without a token": Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "x"}),
    }

    assert {what: found for what, answer in answers.items() if (found := faults_in(answer))} == {}
    assert all(answer.headers["Content-Type"].startswith("text/html") for answer in answers.values())


@pytest.mark.parametrize(
    "address", ["/", "/v1/", "/v1/docs", "/v1/auth/login/", "/admin/login/", "/v1/nowhere", "/nowhere"]
)
def test_no_page_for_strangers_holds_what_its_policy_forbids(db: None, address: str) -> None:
    answer = Client().get(address, headers={"Accept": "text/html"})

    assert faults_in(answer) == []


def test_no_page_of_the_browsable_api_holds_what_its_policy_forbids(full: Forge, client: Client) -> None:
    parts = {
        "slug": "acme", "name": "widgets", "owner": "acme", "repo": "widgets", "event": "push",
        "key_id": ApiKey.objects.get().key_id, "webhook": str(Webhook.objects.get().uid),
        "delivery": str(Delivery.objects.get().pk),
    }  # fmt: skip
    uids = {
        "webhooks": Webhook.objects.get().uid, "events": Event.objects.latest("pk").pk,
        "deliveries": Delivery.objects.get().pk, "replays": Replay.objects.get().pk,
    }  # fmt: skip
    seen, faults = 0, {}
    for operation, _ in Document().operations():
        if operation.method != "GET":
            continue
        kind = operation.path.split("/")[2] if operation.path.startswith("/v1/") else ""
        address = operation.path.format(**parts, uid=uids.get(kind, ""))
        answer = client.get(address, headers={"Accept": "text/html"})
        if answer.headers["Content-Type"].startswith("text/html"):
            seen += answer.status_code == 200
            if found := faults_in(answer):
                faults[address] = found

    assert faults == {}
    assert seen >= 15


def test_what_a_policy_forbids_is_found() -> None:
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
        "img-src 'self' data:; form-action 'self'"
    )
    allowed = """<link rel="stylesheet" href="/a.css"><script src="/a.js"></script><b style="color: red">b</b>
        <script type="application/json">{}</script><img src="data:,"><form action="">
        <a onclick="x()">x</a>"""
    by_hash = f"{policy}; script-src-attr 'unsafe-hashes' 'sha256-D6IGS8VMvCoyaR/l0h9tERrBTATY01CoPS7l6xDv0kI='"

    assert breaches(allowed, by_hash) == []
    assert breaches(allowed, by_hash.replace("'unsafe-hashes' ", "")) == ["<a onclick> script-src-attr: 'x()'"]
    for forbidden in (
        "<script>alert(1)</script>", "<style>b {}</style>", "<b onclick='x()'>", "<img src=//cdn.example/x.png>",
        "<script src=https://cdn.example/x.js></script>", "<link rel=stylesheet href=https://cdn.example/x.css>",
        "<form action=https://evil.example/>", "<iframe src=/x>", "<a href='javascript:x()'>", "<base href=/>",
        "<object data=/x>", "<meta http-equiv=refresh content=0>", "<script type=module>x()</script>",
    ):  # fmt: skip
        assert len(breaches(forbidden, policy)) == 1, forbidden

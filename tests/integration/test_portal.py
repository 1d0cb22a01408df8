"""The portal: a link opens one session once; it shows its own webhooks, explains failures, and redelivers."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from deliveries import pipeline
from deliveries.db.ids import first_id_at
from deliveries.maintenance.hourly_stats import HourlyCounting
from deliveries.models import AuditEntry, Delivery, Organization, Repository, Webhook
from deliveries.sending.sender import Sender
from hookhub import portal_sessions, replays
from hookhub.models import ApiKey, PortalSession, Replay, Scope
from hookhub.portal import views
from tests.api import Caller
from tests.portal import HOSTILE, ask, path_of, press, shown, visitor
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def failed(forge: Forge, webhook: Webhook, *, sender: Sender, now: datetime) -> Delivery:
    forge.receiver.answers["/"] = [Answer(404, {"X-Why": HOSTILE}, HOSTILE.encode()), Answer(200)]
    forge.accept(now=now, data={"title": HOSTILE})
    deliver_due(sender, now=now)
    return Delivery.objects.get(webhook=webhook)


# Getting in -----------------------------------------------------------------------------------------------------------


def test_a_link_opens_a_session_once(forge: Forge, caller: Caller, now: datetime) -> None:
    forge.webhook(now=now, name="Deploys")
    link = path_of(ask(caller)["url"])
    first, second = Client(), Client()

    cookie = first.get(link).cookies["hookhub_portal"]

    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert "Deploys" in shown(first, "/portal/")
    assert "This link has been used" in shown(second, link, status=410)
    assert "Your session has ended" in shown(second, "/portal/", status=401)
    assert "Deploys" in shown(first, "/portal/")


def test_only_hashes_are_stored(caller: Caller) -> None:
    made = ask(caller)
    token = made["url"].partition("token=")[2]
    browser = Client()
    cookie = browser.get(path_of(made["url"])).cookies["hookhub_portal"].value

    stored = str(PortalSession.objects.values()) + str(AuditEntry.objects.values())
    assert token not in stored
    assert cookie not in stored
    assert PortalSession.objects.get().token_hash is None


@pytest.mark.parametrize(
    ("change", "page"),
    [
        ({"token_expires_at": timezone.now() - HOUR}, "This link has been used"),
        ({"revoked_at": timezone.now() - HOUR}, "This link has been used"),
        ({"expires_at": timezone.now() - HOUR}, "This link has been used"),
    ],
    ids=["too late", "revoked", "ended"],
)
def test_a_link_of_no_use_opens_nothing(caller: Caller, change: dict[str, Any], page: str) -> None:
    link = path_of(ask(caller)["url"])
    PortalSession.objects.update(**change)
    browser = Client()

    assert page in shown(browser, link, status=410)
    assert "Your session has ended" in shown(browser, "/portal/", status=401)


@pytest.mark.parametrize("link", ["/portal/enter", "/portal/enter?token=", "/portal/enter?token=abc"])
def test_a_made_up_link_opens_nothing(caller: Caller, link: str) -> None:
    visitor(caller)

    assert "This link has been used" in shown(Client(), link, status=410)


def test_an_open_session_ends_when_it_is_revoked_or_over(caller: Caller) -> None:
    made = ask(caller)
    browser, other = Client(), visitor(caller)
    browser.get(path_of(made["url"]))

    assert caller.delete(f"/v1/portal-sessions/{made['id']}").status_code == 204
    assert "Your session has ended" in shown(browser, "/portal/", status=401)
    shown(other, "/portal/")
    PortalSession.objects.update(expires_at=timezone.now() - HOUR)
    assert "Your session has ended" in shown(other, "/portal/", status=401)
    assert caller.get(f"/v1/portal-sessions/{made['id']}").json()["revoked_at"] is not None
    assert portal_sessions.prune_ended(now=timezone.now() + 25 * HOUR) == 2


def test_who_leaves_is_out(caller: Caller) -> None:
    browser = visitor(caller)

    answer = press(browser, shown(browser, "/portal/"), "/portal/leave")

    assert "Your session has ended" in answer.content.decode()
    assert PortalSession.objects.get().revoked_at is not None
    assert "Your session has ended" in shown(browser, "/portal/", status=401)


# What it shows --------------------------------------------------------------------------------------------------------


def test_each_scope_shows_its_own_webhooks_and_nothing_else(forge: Forge, caller: Caller, now: datetime) -> None:
    other = Forge.make(forge.receiver, "globex")
    gadgets = Repository.objects.create(organization=forge.organization, name="gadgets")
    hooks = {
        "wide": forge.webhook(now=now, name="wide"),
        "widgets": forge.webhook(now=now, name="widgets", repository=forge.repository),
        "gadgets": forge.webhook(now=now, name="gadgets", repository=gadgets),
        "stranger": other.webhook(now=now, name="stranger"),
    }
    scopes: dict[str, tuple[dict[str, Any], set[str]]] = {
        "all": ({}, {"wide", "widgets", "gadgets"}),
        "repository": ({"scope": {"repository": "widgets"}}, {"widgets"}),
        "some": ({"scope": {"webhooks": [str(hooks["wide"].uid), str(hooks["gadgets"].uid)]}}, {"wide", "gadgets"}),
    }

    for fields, expected in scopes.values():
        browser = visitor(caller, **fields)
        page = shown(browser, "/portal/")
        assert {name for name in hooks if f">{name}</a>" in page} == expected
        for name, hook in hooks.items():
            for address in (f"/portal/webhooks/{hook.uid}", f"/portal/webhooks/{hook.uid}/deliveries"):
                if name in expected:
                    assert "There is nothing here" not in shown(browser, address)
                else:
                    assert "There is nothing here" in shown(browser, address, status=404)


def test_a_delivery_of_another_scope_is_not_found(forge: Forge, caller: Caller, sender: Sender, now: datetime) -> None:
    webhook, other = forge.webhook(now=now), forge.webhook(now=now, path="/other")
    delivery = failed(forge, webhook, sender=sender, now=now)
    narrow = visitor(caller, scope={"webhooks": [str(other.uid)]}, role="manage")
    stranger = visitor(Caller.of(Forge.make(forge.receiver, "globex").organization), role="manage")

    for browser in (narrow, stranger):
        token = re.search(r'name="form_token" value="(\w+)"', shown(browser, "/portal/"))
        assert token is not None
        assert browser.get(f"/portal/deliveries/{delivery.pk}").status_code == 404
        forged = browser.post(f"/portal/deliveries/{delivery.pk}/redeliver", {"form_token": token[1]})
        assert forged.status_code == 404
    delivery.refresh_from_db()
    assert delivery.redeliveries == 0


def test_a_failure_is_explained_and_can_be_redelivered(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, name=HOSTILE)
    delivery = failed(forge, webhook, sender=sender, now=now)
    browser = visitor(caller, role="manage")

    page = shown(browser, f"/portal/deliveries/{delivery.pk}")
    assert "The receiver knows nothing at this address (404)." in page
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    answer = press(browser, page, f"/portal/deliveries/{delivery.pk}/redeliver")

    assert (answer.status_code, answer["Location"]) == (302, f"/portal/deliveries/{delivery.pk}")
    delivery.refresh_from_db()
    assert delivery.redeliveries == 1
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.actor_kind) == ("delivery.redelivered", "portal")
    assert entry.actor_id == str(PortalSession.objects.get().pk)
    deliver_due(sender, now=timezone.now())
    assert "Delivered on attempt 2." in shown(browser, f"/portal/deliveries/{delivery.pk}")
    for address in ("/portal/", f"/portal/webhooks/{webhook.uid}", f"/portal/webhooks/{webhook.uid}/deliveries"):
        assert HOSTILE not in shown(browser, address)


def test_who_may_only_look_changes_nothing(forge: Forge, caller: Caller, sender: Sender, now: datetime) -> None:
    delivery = failed(forge, forge.webhook(now=now), sender=sender, now=now)
    browser = visitor(caller, role="read")
    page = shown(browser, f"/portal/deliveries/{delivery.pk}")
    token = re.search(r'name="form_token" value="(\w+)"', page)
    assert token is not None

    answer = browser.post(f"/portal/deliveries/{delivery.pk}/redeliver", {"form_token": token[1]})

    assert "Redeliver" not in page
    assert answer.status_code == 403
    delivery.refresh_from_db()
    assert delivery.redeliveries == 0


@pytest.mark.parametrize("token", ["", "x" * 64, None])
def test_another_site_cannot_send_a_form(
    forge: Forge, caller: Caller, sender: Sender, now: datetime, token: str | None
) -> None:
    delivery = failed(forge, forge.webhook(now=now), sender=sender, now=now)
    browser = visitor(caller, role="manage")

    answer = browser.post(f"/portal/deliveries/{delivery.pk}/redeliver", {} if token is None else {"form_token": token})

    assert answer.status_code == 403
    delivery.refresh_from_db()
    assert delivery.redeliveries == 0


def test_what_failed_is_redelivered_together_with_its_progress(forge: Forge, caller: Caller, sender: Sender) -> None:
    now = timezone.now() - timedelta(minutes=10)
    webhook, other = forge.webhook(now=now, retry_schedule=[]), forge.webhook(now=now, path="/other")
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(3, now=now)
    deliver_due(sender, now=now)
    old = Delivery.objects.filter(webhook=webhook).earliest("id")
    Delivery.objects.filter(pk=old.pk).update(id=first_id_at(now - timedelta(days=2)))
    browser = visitor(caller, role="manage", scope={"webhooks": [str(webhook.uid)]})
    page = shown(browser, f"/portal/webhooks/{webhook.uid}")
    found = re.search(r'name="form_token" value="(\w+)"', page)
    assert found is not None
    address = f"/portal/webhooks/{webhook.uid}/redeliver-failed"

    assert browser.post(address, {"form_token": found[1], "since": "1y"}).status_code == 404
    assert browser.post(address, {"since": "1h"}).status_code == 403
    foreign = f"/portal/webhooks/{other.uid}/redeliver-failed"
    assert browser.post(foreign, {"form_token": found[1], "since": "1h"}).status_code == 404
    progress = browser.post(address, {"form_token": found[1], "since": "24h"})["Location"]
    begun = browser.get(progress)
    assert 'http-equiv="refresh"' in begun.content.decode()
    assert "0 of 2 failed deliveries examined, 0 sent again." in begun.content.decode()
    replays.run_replays(now=timezone.now())
    done = browser.get(progress)

    assert 'http-equiv="refresh"' not in done.content.decode()
    assert "2 of 2 failed deliveries examined, 2 sent again. Done." in done.content.decode()
    assert Delivery.objects.filter(webhook=webhook, state="failed").count() == 1
    assert visitor(caller, scope={"webhooks": [str(other.uid)]}).get(progress).status_code == 404


def test_a_session_that_may_only_look_starts_no_redelivery(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    browser = visitor(caller)
    page = shown(browser, f"/portal/webhooks/{webhook.uid}")
    found = re.search(r'name="form_token" value="(\w+)"', page)
    assert found is not None
    address = f"/portal/webhooks/{webhook.uid}/redeliver-failed"

    assert address not in page
    assert browser.post(address, {"form_token": found[1], "since": "1h"}).status_code == 403
    assert not Replay.objects.exists()


def test_deliveries_are_listed_by_state_and_page(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(60, now=now)
    while pipeline.fan_out(100, now=now).events:
        pass
    browser = visitor(caller)
    base = f"/portal/webhooks/{webhook.uid}/deliveries"

    first = shown(browser, base)
    older = re.search(r'<a href="\?([^"]+)">Older', first)
    assert older is not None
    second = shown(browser, f"{base}?{older[1].replace('&amp;', '&')}")

    ids = [re.findall(r"<code>([0-9a-f-]{36})</code>", page) for page in (first, second)]
    assert [len(set(found)) for found in ids] == [50, 10]
    assert not set(ids[0]) & set(ids[1])
    assert "No deliveries." in shown(browser, f"{base}?state=failed")
    assert browser.get(f"{base}?older=nothing").status_code == 404
    assert "There is no such state." in shown(browser, f"{base}?state=<b>")


def test_an_empty_portal_says_so(caller: Caller) -> None:
    assert "There are no webhooks yet." in shown(visitor(caller), "/portal/")


def test_the_overview_has_each_webhooks_day_in_small(forge: Forge, caller: Caller, sender: Sender) -> None:
    now = timezone.now() - timedelta(hours=2)
    forge.webhook(now=now, name="Good")
    forge.webhook(now=now, name="Bad", path="/bad", retry_schedule=[])
    forge.webhook(now=now, name="New", events=["release"])
    forge.receiver.answers["/bad"] = [Answer(200), Answer(500), Answer(500)]
    forge.accept(3, now=now)
    deliver_due(sender, now=now)
    HourlyCounting().tick(now=timezone.now())
    page = shown(visitor(caller), "/portal/")
    found = re.findall(r"Last 24 hours: ([^<]+)</title>.*?<small>([^<]+)</small>", page, re.DOTALL)
    assert found == [
        ("3 delivered, 0 failed", "100 %"),
        ("1 delivered, 2 failed", "33.3 %"),
        ("0 delivered, 0 failed", "–"),
    ]


def test_the_overview_has_pages(forge: Forge, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "WEBHOOKS_SHOWN", 2)
    for n in range(5):
        forge.webhook(now=timezone.now(), name=f"Webhook {n}", path=f"/{n}")
    browser = visitor(caller)
    pages = [shown(browser, f"/portal/{query}") for query in ("", "?page=2", "?page=3", "?page=x", "?page=0")]
    names = [re.findall(r">(Webhook \d)</a>", page) for page in pages]
    first = ["Webhook 0", "Webhook 1"]
    assert names == [first, ["Webhook 2", "Webhook 3"], ["Webhook 4"], first, first]
    links = [re.findall(r'rel="(next|prev)"', page) for page in pages]
    assert links[:3] == [["next"], ["prev", "next"], ["prev"]]


def test_the_pages_ask_as_few_questions_for_many_rows_as_for_one(
    forge: Forge, caller: Caller, now: datetime, django_assert_max_num_queries: Any
) -> None:
    browser = visitor(caller)
    for n in range(30):
        forge.webhook(now=now, path=f"/{n}", repository=forge.repository)

    with django_assert_max_num_queries(8):
        shown(browser, "/portal/")
    with django_assert_max_num_queries(10):
        shown(browser, f"/portal/webhooks/{Webhook.objects.first().uid}")  # type: ignore[union-attr]


# Asking for a session -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"role": "owner"}, "role"),
        ({"expires_in": 59}, "expires_in"),
        ({"expires_in": 604_801}, "expires_in"),
        ({"expires_in": "3600"}, "expires_in"),
        ({"theme": "pink"}, "theme"),
        ({"return_url": "javascript:alert(1)"}, "return_url"),
        ({"return_url": "//x.example"}, "return_url"),
        ({"return_url": "https://[x"}, "return_url"),
        ({"scope": {"repository": "nowhere"}}, "scope.repository"),
        ({"scope": {"webhooks": ["00000000-0000-7000-8000-000000000000"]}}, "scope.webhooks"),
        ({"scope": {"webhooks": []}}, "scope"),
        ({"scope": {"repository": "widgets", "webhooks": ["00000000-0000-7000-8000-000000000000"]}}, "scope"),
        ({"scope": "all"}, '"field":"scope"'),
        ({"scope": {"repositry": "widgets"}}, '"field":"scope.repositry"'),
        ({"scope": {"webhook": ["00000000-0000-7000-8000-000000000000"]}}, '"field":"scope.webhook"'),
        ({"locale": "tlh"}, "locale"),
        ({"time_zone": "Europe/Atlantis"}, "time_zone"),
        ({"zone": "UTC"}, "zone"),
    ],
)
def test_bad_fields_are_named(caller: Caller, fields: dict[str, Any], named: str) -> None:
    answer = caller.post("/v1/portal-sessions", fields)

    assert answer.status_code == 422
    assert named in answer.content.decode()
    assert not PortalSession.objects.exists()


def test_another_tenants_webhook_or_repository_is_none(forge: Forge, caller: Caller, now: datetime) -> None:
    other = Forge.make(forge.receiver, "globex")
    Repository.objects.filter(pk=other.repository.pk).update(name="secret")
    hook = other.webhook(now=now)

    for scope in ({"repository": "secret"}, {"webhooks": [str(hook.uid)]}):
        assert caller.post("/v1/portal-sessions", {"scope": scope}).status_code == 422


@pytest.mark.parametrize(("scope", "status"), [(Scope.PUBLISH, 403), (Scope.READ, 403), (Scope.MANAGE, 201)])
def test_a_key_must_be_allowed_to_manage(forge: Forge, scope: Scope, status: int) -> None:
    _, key = ApiKey.issue(organization=forge.organization, scope=scope, now=timezone.now())

    assert Caller(key).post("/v1/portal-sessions", {}).status_code == status


def test_where_only_a_master_key_may_read_webhooks_it_alone_makes_sessions(forge: Forge) -> None:
    Organization.objects.filter(pk=forge.organization.pk).update(default_dialect="coregit")
    keys = [ApiKey.issue(organization=forge.organization, scope=scope, now=timezone.now())[1]
            for scope in (Scope.MANAGE, Scope.MASTER)]  # fmt: skip

    assert [Caller(key).post("/v1/portal-sessions", {}).status_code for key in keys] == [403, 201]
    assert [Caller(key).get("/v1/portal-sessions").status_code for key in keys] == [403, 200]


def test_a_session_is_seen_by_its_own_organization_only(forge: Forge, caller: Caller) -> None:
    made = ask(caller, role="manage", expires_in=600, theme="dark", return_url="https://product.example/hooks")
    stranger = Caller.of(Forge.make(forge.receiver, "globex").organization)

    assert stranger.get(f"/v1/portal-sessions/{made['id']}").status_code == 404
    assert stranger.delete(f"/v1/portal-sessions/{made['id']}").status_code == 404
    [listed] = caller.get("/v1/portal-sessions").json()["results"]
    assert (listed["id"], listed["role"], listed["theme"], listed["scope"]) == (made["id"], "manage", "dark", {})
    assert "url" not in listed
    browser = Client()
    browser.get(path_of(made["url"]))
    page = shown(browser, "/portal/")
    assert 'data-theme="dark"' in page
    assert 'href="https://product.example/hooks"' in page


def test_it_is_on_record_who_made_and_who_ended_a_session(caller: Caller) -> None:
    made = ask(caller)
    caller.delete(f"/v1/portal-sessions/{made['id']}")
    caller.delete(f"/v1/portal-sessions/{made['id']}")

    assert list(AuditEntry.objects.filter(target_id=made["id"]).order_by("id").values_list("action", flat=True)) == [
        "portal_session.created", "portal_session.revoked",
    ]  # fmt: skip

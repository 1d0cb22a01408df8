"""The portal's pages of event types and of activity: whose, by whom, and without secrets."""

import re
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from deliveries import audit
from deliveries.audit import Actor, Target
from deliveries.models import AuditEntry, Repository
from deliveries.webhooks import changing, secrets
from hookhub.models import ApiKey, CustomEventType, Membership, PortalSession, Scope
from hookhub.portal import activity, event_types
from tests.api import Caller
from tests.portal import HOSTILE, shown, token_of, visitor
from tests.story import Forge

pytestmark = pytest.mark.django_db


def actions_on(page: str) -> list[str]:
    return re.findall(r'<th scope="row">([^<]+)</th>', page)


def test_each_session_sees_the_changes_of_its_own(forge: Forge, caller: Caller, now: datetime) -> None:
    gadgets = Repository.objects.create(organization=forge.organization, name="gadgets")
    mine = forge.webhook(now=now, name="of widgets", repository=forge.repository)
    forge.webhook(now=now, name="of gadgets", repository=gadgets)
    Forge.make(forge.receiver, "globex").webhook(now=now, name="of a stranger")
    ApiKey.issue(organization=forge.organization, scope=Scope.READ, now=now, name="a key's name")

    whole = shown(visitor(caller), "/portal/activity")
    by_repository = shown(visitor(caller, scope={"repository": "widgets"}), "/portal/activity")
    by_webhook = shown(visitor(caller, scope={"webhooks": [str(mine.uid)]}), "/portal/activity")

    assert {"of widgets", "of gadgets"} <= set(re.findall(r"<td>([^<]*)</td>", whole))
    assert "Portal link made" in actions_on(whole)
    for page in (by_repository, by_webhook):
        assert actions_on(page) == ["Webhook created"]
        assert "of widgets" in page
    assert not [page for page in (whole, by_repository, by_webhook) if "of a stranger" in page or "a key" in page]


def test_a_change_is_shown_with_its_fields_and_without_secrets(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now, name="old name", headers={"X-Token": "a-private-token"})
    changing.change(webhook.pk, {"name": "new " + HOSTILE.replace("/", "")}, now=now)
    _, secret = secrets.rotate_secret(webhook.pk, now=now)

    page = shown(visitor(caller), "/portal/activity")

    assert "<del>old name</del>" in page
    assert "<ins>new &lt;script&gt;alert(1)&lt;script&gt;</ins>" in page
    assert {"Webhook created", "Webhook changed", "Secret replaced"} <= set(actions_on(page))
    assert secret not in page
    assert "a-private-token" not in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        (Actor("person", "mona", "Mona", "192.0.2.7", "req-1"), "mona"),
        (Actor("person", "staff", "Staff", "192.0.2.7", "req-1"), "the operator"),
        (Actor("api_key", "theirs", "Own key"), "API key Own key"),
        (Actor("api_key", "operators", "Operator's key"), "the operator"),
        (Actor("command", "redeliver", "root"), "the operator"),
        (Actor("portal", "00000000-0000-7000-8000-000000000000"), "another portal session"),
        (audit.SYSTEM, "HookHub itself"),
        (Actor("anonymous", "anonymous"), "a subscriber"),
    ],
)
def test_an_owner_learns_no_names_of_the_operators(
    forge: Forge, caller: Caller, now: datetime, actor: Actor, expected: str
) -> None:
    member = User.objects.create_user("mona")
    User.objects.create_user("staff", is_staff=True)
    Membership.objects.create(user=member, organization=forge.organization)
    for organization, name in ((forge.organization, "theirs"), (None, "operators")):
        ApiKey.issue(organization=organization, scope=Scope.MANAGE, now=now)
        ApiKey.objects.filter(key_id=ApiKey.objects.latest("pk").key_id).update(key_id=name)
    webhook = forge.webhook(now=now)
    with audit.acting(lambda: actor):
        audit.record("webhook.disabled", target=Target("webhook", str(webhook.uid), "it", forge.organization), now=now)

    page = shown(visitor(caller, scope={"webhooks": [str(webhook.uid)]}), "/portal/activity")

    assert f"<td>{expected}</td>" in page
    for private in ("192.0.2.7", "req-1", "root", "Operator", "staff"):
        assert private not in page


def test_what_a_session_has_done_is_named_as_its_own(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    browser = visitor(caller, role="manage")
    page = shown(browser, "/portal/deliveries")
    ids = re.findall(r'name="delivery" id="[^"]+" hx-preserve="true" value="([^"]+)"', page)
    browser.post("/portal/deliveries/redeliver", {"form_token": token_of(page), "delivery": ids})

    assert "<td>this session</td>" in shown(browser, "/portal/activity")
    assert "<td>another portal session</td>" in shown(visitor(caller), "/portal/activity")
    assert AuditEntry.objects.filter(actor_id=str(PortalSession.objects.earliest("pk").pk)).exists()
    assert webhook.pk


@pytest.mark.parametrize("is_whole", [True, False])
def test_the_pages_of_the_log_have_each_entry_once(
    forge: Forge, caller: Caller, now: datetime, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    monkeypatch.setattr(activity, "ROWS", 3)
    monkeypatch.setattr(activity, "MAX_READ", 4)
    webhook = forge.webhook(now=now)
    for n in range(7):
        changing.change(webhook.pk, {"name": f"name {n}"}, now=now)
        ApiKey.issue(organization=forge.organization, scope=Scope.READ, now=now)
    browser = visitor(caller, **({} if is_whole else {"scope": {"webhooks": [str(webhook.uid)]}}))

    seen: list[str] = []
    address = "/portal/activity"
    while address:
        page = shown(browser, address)
        seen += re.findall(r"<ins>(name \d)</ins>", page)
        older = re.search(r'<a href="(\?older=[^"]+)">Older', page)
        address = f"/portal/activity{older[1]}" if older else ""

    assert seen == [f"name {n}" for n in reversed(range(7))]
    assert browser.get("/portal/activity?older=x").status_code == 404


def test_the_pages_ask_few_questions(
    forge: Forge, caller: Caller, now: datetime, django_assert_max_num_queries: Any
) -> None:
    for n in range(20):
        forge.webhook(now=now, path=f"/{n}")
    browser = visitor(caller)

    for address in ("/portal/activity", "/portal/event-types", "/portal/event-types/ping"):
        with django_assert_max_num_queries(12):
            assert browser.get(address).status_code == 200


# Event types ----------------------------------------------------------------------------------------------------------


def test_the_catalogue_has_own_types_and_documented_ones(forge: Forge, caller: Caller, now: datetime) -> None:
    CustomEventType.objects.create(
        organization=forge.organization, type="order.paid", description=HOSTILE,
        schema='{"type": "object"}', example='{"id": "\\u202egnp"}',
    )  # fmt: skip
    other = Forge.make(forge.receiver, "globex")
    CustomEventType.objects.create(organization=other.organization, type="secret.launch")
    payer = forge.webhook(now=now, name="payer", events=["order"])
    forge.webhook(now=now, name="pusher", events=["push"])
    other.webhook(now=now, name="stranger")
    browser = visitor(caller)

    everything = shown(browser, "/portal/event-types")
    found = shown(browser, "/portal/event-types?text=ORDER")
    one = shown(browser, "/portal/event-types/order.paid")

    assert "order.paid" in everything
    assert "push" in everything
    assert "secret.launch" not in everything
    assert re.findall(r"<code>([a-z._]+)</code>", found)[0] == "order.paid"
    assert f'<a href="/portal/webhooks/{payer.uid}">payer</a>' in one
    assert "pusher" not in one
    assert "&quot;type&quot;: &quot;object&quot;" in one
    assert "\\u202egnp" in one
    assert "\u202e" not in one
    assert HOSTILE not in everything + found + one
    for missing in ("secret.launch", "nothing"):
        shown(browser, f"/portal/event-types/{missing}", status=404)
    shown(browser, "/portal/event-types?page=0&text=zzz")


def test_the_catalogue_is_in_pages(forge: Forge, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_types, "ROWS", 2)
    for n in range(5):
        CustomEventType.objects.create(organization=forge.organization, type=f"zz.{n}", created_at=timezone.now())
    browser = visitor(caller)

    pages = [shown(browser, f"/portal/event-types?text=zz.&page={n}") for n in (1, 2, 3, 4)]

    names = [re.findall(r"<code>(zz\.\d)</code>", page) for page in pages]
    assert names == [["zz.0", "zz.1"], ["zz.2", "zz.3"], ["zz.4"], []]
    assert ['page=2">Next' in page.replace("&amp;", "&") for page in pages] == [True, False, False, False]
    assert [">Next<" in page for page in pages] == [True, True, False, False]

"""The portal in other pages and in an organization's look; members get in by their login."""

import re
from datetime import timedelta
from http.cookies import Morsel
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from deliveries.models import AuditEntry, Delivery, Organization
from hookhub.models import Membership, PortalSession, Scope
from tests.api import Caller, faults
from tests.pages import Page, read_policy
from tests.story import Forge

pytestmark = pytest.mark.django_db

LOGO = "data:image/svg+xml;base64,PHN2Zy8+"
ORIGIN = "https://app.example"


@pytest.fixture
def caller(forge: Forge) -> Caller:
    return Caller.of(forge.organization, scope=Scope.MASTER)


def choose(caller: Caller, organization: Organization, **fields: Any) -> None:
    answer = caller.patch(f"/v1/organizations/{organization.slug}/portal", fields)
    assert answer.status_code == 200, answer.content


def opened(caller: Caller, **fields: Any) -> tuple[Client, Any]:
    """Return a browser in which a new session's link has been opened, and the response to that."""
    link = urlsplit(caller.post("/v1/portal-sessions", fields).json()["url"])
    browser = Client(enforce_csrf_checks=True)
    return browser, browser.get(f"{link.path}?{link.query}")


def cookie_of(answer: Any) -> Morsel[str]:
    [found] = [answer.cookies[name] for name in answer.cookies if "portal" in name]
    return found


def member(organization: Organization, role: Membership.Role) -> Client:
    """Return a browser in which a new member has logged in."""
    user = User.objects.create_user("ada", password=None)
    Membership.objects.create(user=user, organization=organization, role=role)
    browser = Client()
    browser.force_login(user)
    return browser


def policy_of(answer: Any) -> str:
    return str(answer["Content-Security-Policy"])


# Embedding ------------------------------------------------------------------------------------------------------------


def test_no_page_may_embed_the_portal_by_default(caller: Caller) -> None:
    browser, entered = opened(caller)
    page = browser.get("/portal/")
    assert "frame-ancestors 'none'" in policy_of(page)
    assert page["X-Frame-Options"] == "DENY"
    cookie = cookie_of(entered)
    assert (cookie["samesite"], cookie["secure"], cookie["partitioned"]) == ("Lax", "", "")
    assert cookie["httponly"]


def test_the_named_origins_may(forge: Forge, caller: Caller) -> None:
    choose(caller, forge.organization, embed_origins=[ORIGIN, "HTTPS://App.Example:443", "http://localhost:3000"])
    browser, entered = opened(caller)
    page = browser.get("/portal/")
    assert f"frame-ancestors {ORIGIN} http://localhost:3000" in policy_of(page)
    assert "X-Frame-Options" not in page
    cookie = cookie_of(entered)
    assert (cookie["samesite"], cookie["secure"], cookie["partitioned"]) == ("None", True, True)
    assert "; Partitioned" in cookie.OutputString()


def test_without_tls_on_another_machine_the_cookie_stays_one_that_browsers_keep(
    forge: Forge, caller: Caller, settings: Any
) -> None:
    settings.HOOKHUB_PUBLIC_URL = "http://hooks.internal"
    choose(caller, forge.organization, embed_origins=[ORIGIN])
    cookie = cookie_of(opened(caller)[1])
    assert (cookie["samesite"], cookie["secure"], cookie["partitioned"]) == ("Lax", "", "")


def test_a_page_that_shows_nothing_of_anybody_may_be_embedded_so_that_the_product_learns_that_the_session_ended(
    forge: Forge, caller: Caller
) -> None:
    choose(caller, forge.organization, embed_origins=[ORIGIN], product_name="Acme Forge")
    browser, _ = opened(caller)
    PortalSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    for answer in (browser.get("/portal/"), Client().get("/portal/"), Client().get("/portal/enter?token=used")):
        assert "frame-ancestors *" in policy_of(answer)
        assert "X-Frame-Options" not in answer
        assert b'data-says="session-ended"' in answer.content
    # The browser still has the cookie of the session that ended, and so the page has the product's look.
    assert b"Acme Forge" in browser.get("/portal/").content
    assert b"Acme Forge" not in Client().get("/portal/").content


# Look -----------------------------------------------------------------------------------------------------------------


def test_pages_have_the_organizations_name_logo_and_color_within_their_policy(forge: Forge, caller: Caller) -> None:
    choose(caller, forge.organization, product_name="<b>Acme</b>", accent_color="#B8003A", logo=LOGO)
    browser, _ = opened(caller, theme="dark")
    answer = browser.get("/portal/")
    page = Page(read_policy(policy_of(answer)), origin="http://testserver")
    page.feed(answer.content.decode())
    assert page.breaches == []
    text = answer.content.decode()
    assert "&lt;b&gt;Acme&lt;/b&gt;" in text
    assert f'<img src="{LOGO}"' in text
    assert "<style>:root{--accent:#b8003a;--on-accent:#ffffff}</style>" in text
    assert 'data-theme="dark"' in text


def test_the_settings_are_read_changed_and_recorded(forge: Forge, caller: Caller) -> None:
    address = f"/v1/organizations/{forge.organization.slug}/portal"
    nothing = {"product_name": "", "accent_color": "", "logo": "", "embed_origins": []}
    assert caller.get(address).json() == nothing
    assert caller.patch(address, {"product_name": "Acme"}).json() == {**nothing, "product_name": "Acme"}
    assert caller.patch(address, {"embed_origins": [ORIGIN]}).json()["product_name"] == "Acme"
    entries = AuditEntry.objects.filter(action="portal_settings.updated").order_by("id")
    assert [entry.target_label for entry in entries] == [forge.organization.slug] * 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accent_color", "red"), ("logo", "https://cdn.example/x.png"), ("embed_origins", ["https://app.example/x"]),
        ("embed_origins", ["*"]), ("embed_origins", "https://app.example"), ("product_name", "a\nb"),
        ("logo", "data:image/png;base64," + "A" * 50_000), ("embed_origins", [f"https://{n}.co" for n in range(21)]),
        ("colour", "#000000"), ("accent_color", 7), ("accent_color", None),
    ],
)  # fmt: skip
def test_a_bad_value_is_an_error_that_names_its_field(forge: Forge, caller: Caller, field: str, value: Any) -> None:
    answer = caller.patch(f"/v1/organizations/{forge.organization.slug}/portal", {field: value})
    assert answer.status_code == 422, answer.content
    [named] = faults(answer)
    assert named.split("[")[0].split(".")[0] == field


def test_others_can_neither_read_nor_change_them(forge: Forge, caller: Caller) -> None:
    address = f"/v1/organizations/{forge.organization.slug}/portal"
    stranger = Caller.of(Organization.objects.create(slug="other"), scope=Scope.MASTER)
    assert stranger.get(address).status_code == 404
    assert stranger.patch(address, {"product_name": "Mine"}).status_code == 404
    manager = Caller.of(forge.organization, scope=Scope.MANAGE)
    assert manager.get(address).status_code == 200
    assert manager.patch(address, {"product_name": "Mine"}).status_code == 403
    assert caller.get(address).json()["product_name"] == ""


# Time zone ------------------------------------------------------------------------------------------------------------


def test_times_are_in_the_time_zone_of_the_session(forge: Forge, caller: Caller) -> None:
    forge.webhook(now=timezone.now())
    forge.accept(now=timezone.now())
    delivery = Delivery.objects.get()
    told = {}
    zones: tuple[dict[str, str], ...] = ({}, {"time_zone": "Asia/Tokyo"})
    for zone in zones:
        browser, _ = opened(caller, **zone)
        text = browser.get(f"/portal/deliveries/{delivery.pk}").content.decode()
        found = re.search(r"<dt>Created</dt><dd><time[^>]*>([^<]+)<", text)
        assert found
        told[bool(zone)] = found[1]
    assert told[False].endswith(" UTC")
    assert told[True].endswith(" JST")
    answer = caller.post("/v1/portal-sessions", {"time_zone": "Europe/Atlantis"})
    assert answer.status_code == 422
    assert "time_zone" in faults(answer)


# Members --------------------------------------------------------------------------------------------------------------


def test_a_member_gets_in_by_its_login(forge: Forge) -> None:
    browser = member(forge.organization, Membership.Role.MANAGER)
    forge.webhook(now=timezone.now(), name="CI runner")
    assert forge.organization.slug in browser.get("/portal/members").content.decode()
    answer = browser.post("/portal/members", {"organization": forge.organization.slug})
    assert (answer.status_code, answer["Location"]) == (302, "/portal/")
    assert "CI runner" in browser.get("/portal/").content.decode()
    session = PortalSession.objects.get()
    assert (session.role, session.user) == ("manage", User.objects.get())
    assert AuditEntry.objects.get(action="portal_session.created").actor_kind == "person"


def test_what_a_member_does_is_recorded_as_the_members(forge: Forge) -> None:
    browser = member(forge.organization, Membership.Role.MANAGER)
    browser.post("/portal/members", {"organization": forge.organization.slug})
    page = browser.get("/portal/").content.decode()
    token = re.search(r'name="form_token" value="(\w+)"', page)
    assert token
    browser.post("/portal/leave", {"form_token": token[1]})
    entry = AuditEntry.objects.get(action="portal_session.revoked")
    assert (entry.actor_kind, entry.actor_id) == ("person", "ada")


def test_the_session_of_a_member_follows_its_membership_and_ends_with_its_login(forge: Forge) -> None:
    browser = member(forge.organization, Membership.Role.OWNER)
    browser.post("/portal/members", {"organization": forge.organization.slug})
    copy = Client()
    name = next(name for name in browser.cookies if "portal" in name)
    copy.cookies[name] = browser.cookies[name].value
    assert copy.get("/portal/").status_code == 401
    Membership.objects.update(role=Membership.Role.READER)
    webhook = forge.webhook(now=timezone.now())
    token = re.search(r'name="form_token" value="(\w+)"', browser.get("/portal/").content.decode())
    assert token
    fields = {"form_token": token[1], "since": "24h"}
    assert browser.post(f"/portal/webhooks/{webhook.uid}/redeliver-failed", fields).status_code == 403
    Membership.objects.all().delete()
    assert browser.get("/portal/").status_code == 401
    Membership.objects.create(user=User.objects.get(), organization=forge.organization)
    assert browser.get("/portal/").status_code == 200
    browser.logout()
    browser.cookies[name] = copy.cookies[name].value
    assert browser.get("/portal/").status_code == 401


def test_a_member_opens_no_other_organization_and_a_stranger_none(forge: Forge) -> None:
    Organization.objects.create(slug="other")
    browser = member(forge.organization, Membership.Role.OWNER)
    assert "other" not in browser.get("/portal/members").content.decode()
    assert browser.post("/portal/members", {"organization": "other"}).status_code == 404
    assert not PortalSession.objects.exists()
    answer = Client().get("/portal/members")
    assert answer.status_code == 302
    assert "login" in answer["Location"]


def test_another_site_cannot_open_a_members_session(forge: Forge) -> None:
    user = User.objects.create_user("ada", password=None)
    Membership.objects.create(user=user, organization=forge.organization)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    assert browser.post("/portal/members", {"organization": forge.organization.slug}).status_code == 403
    assert not PortalSession.objects.exists()


def test_an_address_that_no_page_has_is_answered_with_a_page(caller: Caller) -> None:
    browser, _ = opened(caller)
    for address in ("/portal/nothing", "/portal/webhooks/no-uuid", "/portal/enter/"):
        answer = browser.get(address)
        assert answer.status_code == 404
        assert "There is nothing here" in answer.content.decode()
    assert Client().get("/portal/nothing").status_code == 401

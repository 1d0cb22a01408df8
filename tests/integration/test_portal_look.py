"""The look of the portal, set by an owner on a page of the portal, or by an operator in the admin."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from deliveries.models import AuditEntry, Organization
from hookhub import branding
from hookhub.models import Membership, PortalSettings
from tests.api import Caller
from tests.portal import HOSTILE, shown, token_of, visitor
from tests.story import Forge

pytestmark = pytest.mark.django_db

LOGO = "data:image/png;base64,iVBORw0KGgo="
GOOD = {
    "product_name": " Acme Forge ",
    "accent_color": "#1A2B3C",
    "logo": f"{LOGO[:30]}\n{LOGO[30:]}\n",
    "embed_origins": "https://App.example/\nhttp://localhost:3000 https://app.example",
}
ADMIN = {
    "name": "Acme", "default_dialect": "sigmagit", "default_format": "", "slug": "acme", "limits": "",
    "product_name": "", "accent_color": "", "logo": "", "embed_origins": "",
}  # fmt: skip


def member(forge: Forge, role: str) -> Client:
    user = User.objects.create_user(role)
    Membership.objects.create(user=user, organization=forge.organization, role=role)
    browser = Client()
    browser.force_login(user)
    browser.post("/portal/members", {"organization": forge.organization.slug})
    return browser


def stored() -> dict[str, Any] | None:
    return PortalSettings.objects.values("product_name", "accent_color", "logo", "embed_origins").first()


def test_an_owner_sets_it_and_sees_it_at_once(forge: Forge) -> None:
    browser = member(forge, "owner")
    page = shown(browser, "/portal/look")
    assert 'href="/portal/look"' in shown(browser, "/portal/")

    answer = browser.post("/portal/look", {"form_token": token_of(page), **GOOD})

    assert (answer.status_code, answer["Location"]) == (302, "/portal/look")
    assert stored() == {
        "product_name": "Acme Forge",
        "accent_color": "#1a2b3c",
        "logo": LOGO,
        "embed_origins": ["https://app.example", "http://localhost:3000"],
    }
    page = shown(browser, "/portal/look")
    assert ("Acme Forge" in page, f'<img src="{LOGO}"' in page) == (True, True)
    entry = AuditEntry.objects.get(action="portal_settings.updated")
    assert (entry.actor_kind, entry.actor_id) == ("person", "owner")

    browser.post("/portal/look", {"form_token": token_of(page), "product_name": "Acme"})
    assert stored() == {"product_name": "Acme", "accent_color": "", "logo": "", "embed_origins": []}


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("product_name", "x" * 81, "Must be a text of up to 80 characters."),
        ("product_name", "a\u202eb", "Must be a single line without control or bidirectional formatting characters."),
        ("accent_color", "red", "Must be a color such as #1a2b3c."),
        ("logo", "https://cdn.example/x.png", "Must be a data: URL in base64 of a PNG, JPEG, WebP, GIF or SVG image."),
        ("logo", "data:text/html;base64,AAAA", "Must be a data: URL in base64 of a PNG, JPEG, WebP, GIF or SVG image."),
        (
            "logo",
            f"data:image/png;base64,{'A' * 40_000}",
            "Must be at most 40000 characters long; use a smaller image.",
        ),
        ("embed_origins", "https://a.example *", "Must be an origin such as https://app.example: *."),
        ("embed_origins", "http://a.example", "Must begin with https://: http://a.example."),
        ("embed_origins", "https://a.example/x", "Must be an origin, without a path: https://a.example/x."),
        (
            "embed_origins",
            " ".join(f"https://{n}.example" for n in range(21)),
            "Must be at most 20 origins of up to 255 characters.",
        ),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_stored(
    forge: Forge, field: str, value: str, error: str
) -> None:
    browser = member(forge, "owner")
    token = token_of(shown(browser, "/portal/look"))

    answer = browser.post("/portal/look", {"form_token": token, **GOOD, field: value})

    page = answer.content.decode()
    assert (answer.status_code, stored()) == (422, None)
    assert re.findall(r'<div class="error" id="id_(\w+)_error"><p>([^<]*)</p></div>', page) == [(field, error)]
    assert "Acme Forge" in page or field == "product_name"


def test_markup_in_what_was_typed_stays_text(forge: Forge) -> None:
    browser = member(forge, "owner")
    token = token_of(shown(browser, "/portal/look"))

    answer = browser.post("/portal/look", {"form_token": token, **dict.fromkeys(GOOD, HOSTILE)})

    assert HOSTILE not in answer.content.decode()
    browser.post("/portal/look", {"form_token": token, "product_name": HOSTILE})
    assert HOSTILE not in shown(browser, "/portal/look")


@pytest.mark.parametrize("role", ["manager", "reader"])
def test_for_other_members_there_is_no_such_page(forge: Forge, role: str) -> None:
    browser = member(forge, role)

    assert "/portal/look" not in shown(browser, "/portal/")
    page = shown(browser, "/portal/look", status=404)
    assert browser.post("/portal/look", {"form_token": token_of(page), **GOOD}).status_code == 404
    assert stored() is None


def test_nor_for_a_link_whatever_its_role(forge: Forge) -> None:
    browser = visitor(Caller.of(forge.organization), role="manage")

    page = shown(browser, "/portal/look", status=404)
    assert browser.post("/portal/look", {"form_token": token_of(page), **GOOD}).status_code == 404
    assert stored() is None


def test_an_owner_of_another_organization_changes_only_its_own(forge: Forge) -> None:
    browser = member(Forge.make(forge.receiver, "globex"), "owner")
    token = token_of(shown(browser, "/portal/look"))

    browser.post("/portal/look", {"form_token": token, "organization": forge.organization.pk, **GOOD})

    assert PortalSettings.objects.get().organization.slug == "globex"


def test_the_admin_sets_it_with_the_organization(forge: Forge, admin_client: Client) -> None:
    address = f"/admin/deliveries/organization/{forge.organization.pk}/change/"

    answer = admin_client.post(address, {**ADMIN, **GOOD})

    assert answer.status_code == 302, answer.context["errors"]
    assert stored() == branding.read({**GOOD, "embed_origins": GOOD["embed_origins"].split()})
    assert AuditEntry.objects.filter(action="portal_settings.updated").count() == 1
    page = admin_client.get(address).content.decode()
    assert "https://app.example\nhttp://localhost:3000" in page

    # What is not changed is not stored again.
    admin_client.post(address, {**ADMIN, **GOOD, "logo": LOGO, "accent_color": "#1a2b3c", "name": "Other"})
    assert AuditEntry.objects.filter(action="portal_settings.updated").count() == 1
    assert Organization.objects.get(pk=forge.organization.pk).name == "Other"


def test_the_admin_says_what_is_wrong_beside_the_field(forge: Forge, admin_client: Client) -> None:
    address = f"/admin/deliveries/organization/{forge.organization.pk}/change/"

    answer = admin_client.post(address, {**ADMIN, "embed_origins": "*", "logo": "x"})

    errors = answer.context["adminform"].form.errors
    assert answer.status_code == 200
    assert errors == {
        "logo": ["logo: must be a data: URL in base64 of a PNG, JPEG, WebP, GIF or SVG image"],
        "embed_origins": ["embed_origins: must be an origin such as https://app.example: *"],
    }
    assert stored() is None


def test_a_new_organization_has_its_look_from_the_beginning(admin_client: Client) -> None:
    answer = admin_client.post("/admin/deliveries/organization/add/", {**ADMIN, "slug": "new", "product_name": "Neu"})

    assert answer.status_code == 302, answer.context["errors"]
    assert (Organization.objects.get().slug, PortalSettings.objects.get().product_name) == ("new", "Neu")

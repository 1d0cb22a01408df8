"""The portal in a real browser: an owner's story without scripts, and every page examined by axe-core."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, Page, Response, expect
from pytest_django.live_server_helper import LiveServer

from deliveries.maintenance.hourly_stats import HourlyCounting
from deliveries.models import Webhook
from deliveries.sending.sender import Sender
from hookhub import replays
from hookhub.models import Membership
from tests import axe
from tests.api import Caller
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = [pytest.mark.acceptance, pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PATIENCE_MS = 60_000
MOST_BYTES = 150_000


@pytest.fixture
def forge(committed_forge: Forge) -> Forge:
    return committed_forge


def new_page(chrome: Browser, url: str, **options: Any) -> Page:
    context = chrome.new_context(base_url=url, **options)
    context.set_default_timeout(PATIENCE_MS)
    return context.new_page()


def link_for(forge: Forge, **fields: Any) -> str:
    """Return the path of a new session's link."""
    answer = Caller.of(forge.organization).post("/v1/portal-sessions", fields)
    parts = urlsplit(answer.json()["url"])
    return f"{parts.path}?{parts.query}"


def login_of_an_owner(forge: Forge) -> str:
    """Return the id of a login session."""
    owner = User.objects.create_user("owner")
    Membership.objects.create(user=owner, organization=forge.organization, role="owner")
    browser = Client()
    browser.force_login(owner)
    return browser.cookies["sessionid"].value


def press(page: Page, name: str) -> None:
    """Press a button, and wait until the server has done what it is for."""
    with page.expect_navigation():
        page.get_by_role("button", name=name).click()


def test_an_owner_sees_why_it_failed_and_sends_it_again(
    forge: Forge, chrome: Browser, live_server: LiveServer, sender: Sender
) -> None:
    now = timezone.now() - timedelta(minutes=5)
    forge.webhook(now=now, name="CI <b>runner</b>", retry_schedule=[])
    forge.receiver.answers["/"] = Answer(401, {}, b"<script>document.title = 'stolen'</script>")
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    HourlyCounting().tick(now=timezone.now())
    page = new_page(chrome, live_server.url, java_script_enabled=False)
    faults: list[str] = []
    page.on("response", lambda answer: faults.append(answer.url) if answer.status >= 400 else None)

    page.goto(link_for(forge, role="manage"))
    expect(page.locator("figcaption")).to_contain_text("0 delivered, 2 failed")
    page.get_by_role("link", name="CI <b>runner</b>").click()
    page.get_by_role("link", name="Failed").click()
    page.locator("tbody a").first.click()
    expect(page.locator(".note")).to_contain_text("The receiver demands authentication (401).")
    expect(page.locator("details pre").nth(1)).to_contain_text("<script>document.title = 'stolen'</script>")
    press(page, "Redeliver")
    forge.receiver.answers["/"] = Answer(200)
    deliver_due(sender, now=timezone.now())
    page.reload()
    expect(page.locator("main")).to_contain_text("Delivered on attempt 2.")

    page.get_by_role("link", name="CI <b>runner</b>").click()
    page.select_option("select", "24h")
    press(page, "Redeliver")
    replays.run_replays(now=timezone.now())
    # The page reloads by itself until the redelivery is done.
    expect(page.get_by_role("status")).to_contain_text("1 sent again. Done.")
    assert len(deliver_due(sender, now=timezone.now())) == 1
    page.get_by_role("button", name="Leave").click()
    page.goto("/portal/")
    expect(page.get_by_role("heading")).to_have_text("Your session has ended")
    assert faults == [f"{live_server.url}/portal/"]
    page.context.close()


def test_an_owner_makes_the_first_webhook_tries_it_and_mends_it(
    forge: Forge, chrome: Browser, live_server: LiveServer, sender: Sender
) -> None:
    page = new_page(chrome, live_server.url, java_script_enabled=False)
    page.goto(link_for(forge, role="manage"))
    expect(page.locator("main")).to_contain_text("There are no webhooks yet.")
    page.get_by_role("link", name="New webhook").click()
    page.get_by_label("URL", exact=True).fill(forge.receiver.url("/wrong"))
    page.get_by_role("checkbox", name="branch.created").check()
    page.get_by_role("button", name="Create webhook").click()
    secret = page.locator("pre").inner_text()
    assert secret.startswith("whsec_")
    # The browser sends the form again; that makes no second webhook.
    page.reload()
    expect(page.get_by_role("link", name="Send a test event")).to_be_visible()
    assert secret not in page.content()
    assert Webhook.objects.get().events == ["branch.created"]

    forge.receiver.answers["/wrong"] = Answer(404)
    page.get_by_role("link", name="Send a test event").click()
    expect(page.locator("pre")).to_contain_text("webhook-signature: v1,<signature>")
    press(page, "Send test event")
    deliver_due(sender, now=timezone.now())
    page.reload()
    expect(page.locator(".note")).to_contain_text("The receiver knows nothing at this address (404).")
    page.get_by_role("link", name=forge.receiver.url("/wrong")).click()
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("URL", exact=True).fill(forge.receiver.url("/right"))
    page.get_by_role("button", name="Save").click()
    assert page.locator("pre").inner_text() not in {secret, ""}
    page.get_by_role("link", name="Send a test event").click()
    press(page, "Send test event")
    deliver_due(sender, now=timezone.now())
    page.reload()
    expect(page.locator("main")).to_contain_text("Delivered on attempt 1.")
    assert forge.receiver.received[-1].path == "/right"
    page.context.close()


@pytest.mark.parametrize(("theme", "locale"), [("light", "en"), ("dark", "de")])
def test_axe_finds_nothing_serious_on_any_page(
    forge: Forge, chrome: Browser, live_server: LiveServer, sender: Sender, theme: str, locale: str
) -> None:
    axe.require()
    now = timezone.now() - timedelta(hours=2)
    webhook = forge.webhook(now=now, name="CI runner")
    forge.receiver.answers["/"] = [Answer(500), Answer(200)]
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    HourlyCounting().tick(now=timezone.now())
    # axe-core is put into the page, which the page's own policy would not allow.
    page = new_page(chrome, live_server.url, bypass_csp=True, viewport={"width": 360, "height": 800})
    axe.examine_in(page)
    page.goto(link_for(forge, role="manage", theme=theme, locale=locale))
    page.goto(f"/portal/webhooks/{webhook.uid}/deliveries?state=pending")
    delivery = page.locator("tbody a").first.get_attribute("href") or ""
    used = "/portal/enter?token=used"
    found: dict[str, list[axe.Finding]] = {}

    of_webhook, new = f"/portal/webhooks/{webhook.uid}", "/portal/webhooks/new"
    addresses = ["/portal/", of_webhook, page.url, delivery, used, "/", new, wrong := f"{new}#wrong"]
    addresses += [f"{of_webhook}/{name}" for name in ("settings", "secret", "test", "disable", "enable", "delete")]
    addresses += ["/portal/deliveries?status=x", "/portal/event-types", "/portal/event-types/ping", "/portal/activity"]
    addresses += ["/portal/alerts", "/portal/alerts/new", f"{of_webhook}/verification", f"{of_webhook}/never-sent"]
    polled = Caller.of(forge.organization).post("/v1/webhooks", {"kind": "poll", "events": ["push"]}).json()["id"]
    addresses += [f"/portal/webhooks/{polled}", f"/portal/webhooks/{polled}/settings"]
    loaded: list[Response] = []
    # Playwright takes no built-in function.
    page.on("response", lambda *answers: loaded.extend(answers))
    # With a route the browser uses no cache, so that each page is weighed with its script and styles. A setting of the
    # tab would be forgotten now and then.
    page.route("**/*", lambda route: route.continue_())

    def examine(address: str) -> None:
        loaded.clear()
        page.goto(address)
        assert {urlsplit(each.url).netloc for each in loaded} <= {urlsplit(live_server.url).netloc}, address
        assert all(each.status != 304 for each in loaded), address
        # A redirect has no body that the browser would keep.
        assert sum(len(each.body()) for each in loaded if not 300 <= each.status <= 399) <= MOST_BYTES, address
        if address == wrong:
            page.get_by_label("URL", exact=True).fill("ftp://receiver.example/")
            page.locator("form.edit button.main").click()
            expect(page.get_by_role("alert")).to_be_visible()
        found[address] = axe.serious_findings(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address

    for address in addresses:
        examine(address)
    # Only members who own the organization have these pages.
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.context.add_cookies([{"name": "sessionid", "value": login_of_an_owner(forge), "url": live_server.url}])
    examine("/portal/members")
    page.get_by_role("button", name=forge.organization.slug).click()
    page.wait_for_url("**/portal/")
    examine("/portal/look")

    assert {address: spots for address, spots in found.items() if spots} == {}
    page.context.close()

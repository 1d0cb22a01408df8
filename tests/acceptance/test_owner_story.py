"""A newcomer's story in the portal, inside a product's own page of another site, from the link to the last chart."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from deliveries.maintenance.hourly_stats import HourlyCounting
from deliveries.sending.sender import Sender
from hookhub import replays
from hookhub.models import PortalSession
from hookhub.receiving import verify
from tests.api import Caller
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = [pytest.mark.acceptance, pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
# The page of the product: an iframe, and what the portal says to it.
PRODUCT = b"""<!DOCTYPE html><meta charset="utf-8"><title>Product</title>
<script>
  const said = [];
  window.addEventListener("message", (event) => said.push(event.data));
</script>
<iframe name="portal" width="360" height="800"></iframe>"""


class ProductPage(BaseHTTPRequestHandler):
    """Responds to every request with the product's page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PRODUCT)))
        self.end_headers()
        self.wfile.write(PRODUCT)

    def log_message(self, *args: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def product() -> Iterator[str]:
    """Return the origin of a product; the portal, at localhost, is another site for browsers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), ProductPage)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def forge(committed_forge: Forge) -> Forge:
    return committed_forge


def link_for(forge: Forge, live_server: LiveServer, **fields: Any) -> str:
    """Return a new session's link."""
    answer = Caller.of(forge.organization).post("/v1/portal-sessions", fields)
    parts = urlsplit(answer.json()["url"])
    return f"{live_server.url}{parts.path}?{parts.query}"


def is_foreign(address: str) -> bool:
    """Return whether a request goes to another machine; this one has the product and the portal."""
    parts = urlsplit(address)
    return parts.scheme in {"http", "https"} and parts.hostname not in {"localhost", "127.0.0.1"}


def embed(page: Page, address: str) -> None:
    page.evaluate("address => { document.querySelector('iframe').src = address; }", address)


def test_a_newcomer_in_the_product_makes_a_webhook_sees_it_fail_and_mends_it(
    forge: Forge, chrome: Browser, live_server: LiveServer, product: str, sender: Sender
) -> None:
    address = f"/v1/organizations/{forge.organization.slug}/portal"
    chosen = {"embed_origins": [product], "product_name": "Acme Forge", "accent_color": "#00aa55"}
    assert Caller.of(forge.organization).patch(address, chosen).status_code == 200
    page = chrome.new_page(viewport={"width": 400, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url) if is_foreign(request.url) else None)
    page.goto(product)

    # The product's server makes a session, and its page embeds the link.
    embed(page, link_for(forge, live_server, role="manage", theme="dark", scope={"repository": "widgets"}))
    portal = page.frame_locator("iframe")
    expect(portal.locator("main")).to_contain_text("There are no webhooks yet.")
    expect(portal.locator(".home")).to_have_text("Acme Forge Webhooks")

    # The first webhook, and a test event to it, which the receiver refuses.
    portal.get_by_role("link", name="New webhook").click()
    portal.get_by_label("URL", exact=True).fill(forge.receiver.url("/ci"))
    portal.get_by_label("Name", exact=True).fill("CI runner")
    portal.get_by_label("All event types").check()
    portal.get_by_label("Not at all").check()
    portal.get_by_role("button", name="Create webhook").click()
    secret = portal.locator("pre.secret").inner_text()
    portal.get_by_role("link", name="Send a test event").click()
    portal.locator("#choose").select_option("push")
    # The page before it has an example too, and a button that a click would be lost on.
    with page.expect_event("framenavigated", lambda frame: "type=push" in frame.url):
        portal.get_by_role("button", name="Show example").click()
    expect(portal.locator("main pre").first).to_contain_text("webhook-signature")
    portal.get_by_role("button", name="Send test event").click()
    expect(portal.locator("main")).to_contain_text("This is a test event")
    forge.receiver.answers["/ci"] = [Answer(401, {}, b"who are you?")] * 3
    deliver_due(sender, now=timezone.now())

    # What happened meanwhile is shown without a reload: that it failed, why, and what to do.
    expect(portal.locator(".note")).to_contain_text("The receiver demands authentication (401).")
    expect(portal.locator(".note")).to_contain_text("Compare the webhook's secret with the receiver's")
    forge.accept(2, now=timezone.now())
    deliver_due(sender, now=timezone.now())
    portal.get_by_role("link", name="CI runner").click()
    expect(portal.locator("#health")).to_contain_text("Failing (3)")

    # The receiver is mended, and all that failed is sent again.
    forge.receiver.answers["/ci"] = Answer(200)
    portal.locator("select[name=since]").select_option("24h")
    portal.get_by_role("button", name="Redeliver").click()
    expect(portal.get_by_role("status")).to_contain_text("0 of 3 failed deliveries examined")
    replays.run_replays(now=timezone.now())
    expect(portal.get_by_role("status")).to_contain_text("3 sent again. Done.")
    deliver_due(sender, now=timezone.now())
    for request in forge.receiver.received[-3:]:
        verify(request.body, request.headers, secrets=secret)
    HourlyCounting().tick(now=timezone.now() + timedelta(minutes=5))
    portal.get_by_role("link", name="Webhooks", exact=False).first.click()
    expect(portal.locator("figcaption")).to_contain_text("3 delivered, 3 failed")
    expect(portal.locator("#live tbody")).to_contain_text("Healthy")
    expect(portal.locator("#live tbody")).to_contain_text("50.0 %")
    assert page.evaluate("said.some((message) => message.type === 'resized' && message.height > 0)")

    # The session ends: the page says so, also to the product, which asks for another link.
    PortalSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    expect(portal.locator("h1")).to_have_text("Your session has ended")
    page.wait_for_function("said.some((message) => message.type === 'session-ended')")
    assert page.evaluate("said.every((message) => message.source === 'hookhub-portal')")
    embed(page, link_for(forge, live_server))
    expect(portal.get_by_role("link", name="CI runner")).to_be_visible()
    expect(portal.get_by_role("link", name="New webhook")).to_have_count(0)
    assert foreign == []
    page.close()


def test_a_product_that_is_not_named_cannot(
    forge: Forge, chrome: Browser, live_server: LiveServer, product: str
) -> None:
    forge.webhook(now=timezone.now(), name="CI runner")
    page = chrome.new_page()
    page.goto(product)
    embed(page, link_for(forge, live_server))
    portal = page.frame_locator("iframe")
    expect(portal.get_by_role("heading")).to_have_text("This page may not be part of another")
    expect(portal.locator("main")).to_contain_text("embed_origins")
    page.close()

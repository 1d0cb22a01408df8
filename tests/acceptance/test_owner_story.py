"""The portal inside a product's own page, of another site: its look, live refresh, and the end of a session."""

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

from deliveries.models import Delivery
from deliveries.sending.sender import Sender
from hookhub.models import PortalSession
from tests import chromium
from tests.api import Caller
from tests.receiver import Answer, Receiver
from tests.story import Forge, deliver_due

pytestmark = [pytest.mark.acceptance, pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PATIENCE_MS = 60_000
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


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with chromium.browser() as started:
        yield started


@pytest.fixture
def forge(transactional_db: None, receiver: Receiver) -> Forge:
    """Return the usual forge, but committed, because the server is another thread with its own connection."""
    return Forge.make(receiver)


def link_for(forge: Forge, live_server: LiveServer, **fields: Any) -> str:
    """Return a new session's link."""
    answer = Caller.of(forge.organization).post("/v1/portal-sessions", fields)
    parts = urlsplit(answer.json()["url"])
    return f"{live_server.url}{parts.path}?{parts.query}"


def embed(page: Page, address: str) -> None:
    page.evaluate("address => { document.querySelector('iframe').src = address; }", address)


def test_a_product_embeds_the_portal(
    forge: Forge, chrome: Browser, live_server: LiveServer, product: str, sender: Sender
) -> None:
    address = f"/v1/organizations/{forge.organization.slug}/portal"
    chosen = {"embed_origins": [product], "product_name": "Acme Forge", "accent_color": "#00aa55"}
    assert Caller.of(forge.organization).patch(address, chosen).status_code == 200
    now = timezone.now() - timedelta(minutes=5)
    forge.webhook(now=now, name="CI runner", retry_schedule=[])
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(1, now=now)
    page = chrome.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(product)

    embed(page, link_for(forge, live_server, role="manage", theme="dark"))
    portal = page.frame_locator("iframe")
    expect(portal.get_by_role("link", name="Acme Forge Webhooks")).to_be_visible()
    portal.get_by_role("link", name="CI runner").click()
    # What happens meanwhile is shown without a reload.
    expect(portal.locator("tbody")).to_contain_text("pending", ignore_case=True)
    deliver_due(sender, now=now)
    expect(portal.locator("tbody")).to_contain_text("failed", ignore_case=True, timeout=PATIENCE_MS)

    PortalSession.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    expect(portal.locator("h1")).to_have_text("Your session has ended", timeout=PATIENCE_MS)
    page.wait_for_function("said.some((message) => message.type === 'session-ended')")
    assert page.evaluate("said.every((message) => message.source === 'hookhub-portal')")
    # The product asks for another link.
    embed(page, link_for(forge, live_server))
    expect(portal.get_by_role("link", name="CI runner")).to_be_visible()
    assert Delivery.objects.get().state == "failed"
    page.close()


def test_a_product_that_is_not_named_cannot(
    forge: Forge, chrome: Browser, live_server: LiveServer, product: str
) -> None:
    forge.webhook(now=timezone.now(), name="CI runner")
    page = chrome.new_page()
    page.goto(product)
    embed(page, link_for(forge, live_server))
    portal = page.frame_locator("iframe")
    expect(portal.get_by_role("heading")).to_have_text("This page may not be part of another", timeout=PATIENCE_MS)
    expect(portal.locator("main")).to_contain_text("embed_origins")
    page.close()

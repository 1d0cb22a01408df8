"""The portal behind a real TLS proxy in a real browser: `__Host-` cookies, HSTS, and an iframe of another site."""

import base64
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, NamedTuple

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from playwright.sync_api import Browser, BrowserContext, Page, expect

from testbed.instance import Instance
from testbed.processes import wait_for
from tests import chromium
from tests.acceptance.instances import as_new, idle_instance
from tests.certificates import Identity
from tests.partners.tls_front import tls_before

pytestmark = [pytest.mark.acceptance, pytest.mark.browser]

PATIENCE_MS = 60_000
HOST, PRODUCT, STRANGER = "hooks.example.org", "app.example.net", "evil.example.com"
PASSWORD = "correct horse battery staple"
# The page of the product, which remembers what the portal says to it.
PAGE = b"""<!doctype html><title>product</title><iframe width=800 height=800></iframe><script>
window.said = [];
window.addEventListener("message", (event) => window.said.push([event.origin, event.data.type]));
</script>"""


class Web(NamedTuple):
    """A HookHub and a browser that reaches it, and the pages of others, by their names over TLS."""

    instance: Instance
    browser: Browser


class ProductPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def product() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), ProductPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    with idle_instance(
        HOOKHUB_BEHIND_TLS_PROXY="1", HOOKHUB_PUBLIC_URL=f"https://{HOST}", HOOKHUB_SERVED_HOSTS=f"127.0.0.1,{HOST}"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def shared_web(shared: Instance, product: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    identity = Identity.make(tmp_path_factory.mktemp("tls") / "server.pem", "Test", address="127.0.0.1")
    context = identity.server_context()
    with tls_before(shared.port, context) as port, tls_before(product, context) as other:
        rules = [f"MAP {HOST} 127.0.0.1:{port}", *(f"MAP {name} 127.0.0.1:{other}" for name in (PRODUCT, STRANGER))]
        flags = (
            f"--host-resolver-rules={','.join(rules)}",
            # As if a known authority had signed it: unlike with errors that are ignored, HSTS holds.
            f"--ignore-certificate-errors-spki-list={pin_of(identity)}",
            # As browsers do, or are going to: no cookie within pages of other sites but partitioned ones.
            "--test-third-party-cookie-phaseout",
        )
        with chromium.browser(*flags) as browser:
            yield Web(shared, browser)


@pytest.fixture
def web(shared_web: Web) -> Web:
    as_new(shared_web.instance, worker=False)
    return shared_web


def pin_of(identity: Identity) -> str:
    public = identity.certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


def new_page(web: Web) -> Page:
    context = web.browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    return context.new_page()


def ask(web: Web, method: str, path: str, **fields: Any) -> Any:
    key = {"Authorization": f"Bearer {web.instance.key}"}
    answer = requests.request(method, f"{web.instance.url}{path}", json=fields, headers=key, timeout=30)
    assert answer.ok, answer.text
    return answer.json() if answer.content else None


def new_link(web: Web, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = ask(web, "POST", "/v1/portal-sessions", role="manage", **fields)
    assert made["url"].startswith(f"https://{HOST}/portal/enter?token=")
    return made


def cookies_of(context: BrowserContext) -> dict[str, Any]:
    return {cookie["name"]: cookie for cookie in context.cookies()}


def test_a_link_opens_the_portal_with_a_cookie_of_this_host_alone_and_tls_from_then_on(web: Web) -> None:
    page = new_page(web)

    opened = page.goto(new_link(web)["url"])

    assert opened is not None
    assert opened.header_value("strict-transport-security") == "max-age=31536000"
    expect(page.locator("main")).to_contain_text("There are no webhooks yet.")
    cookie = cookies_of(page.context)["__Host-portal"]
    assert {name: cookie[name] for name in ("domain", "path", "secure", "httpOnly", "sameSite")} == {
        "domain": HOST, "path": "/", "secure": True, "httpOnly": True, "sameSite": "Lax",
    }  # fmt: skip
    # Port 80 leads to the TLS proxy here, which would not understand it: the browser itself turns to TLS.
    again = page.goto(f"http://{HOST}/portal/deliveries")
    assert again is not None
    assert (again.status, page.url) == (200, f"https://{HOST}/portal/deliveries")
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your session has ended")
    page.context.close()


def test_a_member_gets_in_by_its_login(web: Web) -> None:
    user = web.instance.ask(
        "INSERT INTO auth_user (username, password, email, first_name, last_name, is_superuser, is_staff, is_active,"
        " date_joined) VALUES ('olga', %s, '', '', '', false, false, true, now()) RETURNING id",
        PBKDF2PasswordHasher().encode(PASSWORD, "salt"),
    )
    web.instance.ask(
        "INSERT INTO hookhub_membership (user_id, organization_id, role)"
        " SELECT %s, id, 'owner' FROM hookhub_organization RETURNING id",
        user,
    )
    page = new_page(web)

    page.goto(f"https://{HOST}/portal/members")
    page.get_by_label("Username").fill("olga")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="acme").click()

    expect(page.locator("main")).to_contain_text("There are no webhooks yet.")
    assert {"__Host-sessionid", "__Host-csrftoken", "__Host-portal"} <= cookies_of(page.context).keys()
    page.get_by_role("link", name="Look").click()
    page.get_by_label("Name of the product").fill("Acme Forge")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("header")).to_contain_text("Acme Forge")
    page.context.close()


def test_it_works_in_an_iframe_of_another_site_and_says_when_it_needs_another_link(web: Web) -> None:
    ask(web, "PATCH", "/v1/organizations/acme/portal", embed_origins=[f"https://{PRODUCT}"])
    made = new_link(web)
    page = new_page(web)
    page.goto(f"https://{PRODUCT}/")
    portal = page.frame_locator("iframe")

    show(page, made["url"])
    expect(portal.locator("main")).to_contain_text("There are no webhooks yet.")
    cookie = cookies_of(page.context)["__Host-portal"]
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "None")
    assert cookie["partitionKey"] == f"https://{PRODUCT.partition('.')[2]}"
    # A form is sent from within, and the session is still there on the next page.
    portal.get_by_role("link", name="New webhook").click()
    portal.get_by_label("URL", exact=True).fill("https://93.184.215.14/hook")
    portal.get_by_role("checkbox", name="branch.created").check()
    portal.get_by_role("button", name="Create webhook").click()
    expect(portal.locator("pre.secret")).to_contain_text("whsec_")
    portal.get_by_role("link", name="Deliveries", exact=True).click()
    expect(portal.get_by_role("heading", level=1)).to_contain_text("Deliveries")

    ask(web, "DELETE", f"/v1/portal-sessions/{made['id']}")
    portal.get_by_role("link", name="Activity").click()
    expect(portal.get_by_role("heading", level=1)).to_have_text("Your session has ended")
    page.wait_for_function("said.some(([origin, type]) => type === 'session-ended')")
    assert {origin for origin, _ in page.evaluate("said")} == {f"https://{HOST}"}
    show(page, new_link(web)["url"])
    expect(portal.locator("main")).to_contain_text("93.184.215.14")

    # The cookie is of no use on another site, and not in a tab of its own either.
    other = page.context.new_page()
    other.goto(f"https://{HOST}/portal/")
    expect(other.get_by_role("heading", level=1)).to_have_text("Your session has ended")
    page.context.close()


def test_another_site_cannot_show_it(web: Web) -> None:
    ask(web, "PATCH", "/v1/organizations/acme/portal", embed_origins=[f"https://{PRODUCT}"])
    page = new_page(web)
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(f"https://{STRANGER}/")

    with page.expect_response(lambda answer: "/portal/" in answer.url and answer.status == 302):
        show(page, new_link(web)["url"])

    wait_for(lambda: page.evaluate("1") and any("frame-ancestors" in text for text in refused), "the browser's refusal")
    expect(page.frame_locator("iframe").locator("main")).to_have_count(0)
    page.context.close()


def show(page: Page, address: str) -> None:
    """Show an address in the page's iframe."""
    page.evaluate("address => { document.querySelector('iframe').src = address; }", address)

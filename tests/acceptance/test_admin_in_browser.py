"""The tasks of an operator in a real browser against a real server, with and without JavaScript."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Attempt, Delivery, Webhook
from deliveries.sending.sender import Sender
from tests import chromium
from tests.receiver import Answer
from tests.story import Forge, deliver_due, the_delivery

pytestmark = [pytest.mark.acceptance, pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PASSWORD = "op-password-1"
# Loopback answers at once, but the machine may be busy.
PATIENCE_MS = 60_000


@pytest.fixture(params=[True, False], ids=["javascript", "no-javascript"])
def tab(request: pytest.FixtureRequest, chrome: Browser, live_server: LiveServer) -> Iterator[Page]:
    """Return a browser tab with the operator logged in; fail at the end if any page had an error."""
    User.objects.create_superuser("op", "op@example.com", PASSWORD)
    context = chrome.new_context(base_url=live_server.url, java_script_enabled=request.param)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("response", lambda answer: faults.append(answer.url) if answer.status >= 400 else None)
    chromium.note_violations(page, faults)
    page.goto("/admin/")
    page.fill("#id_username", "op")
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def forge(committed_forge: Forge) -> Forge:
    return committed_forge


def test_a_failed_delivery_is_understood_sent_again_and_delivered(
    forge: Forge, tab: Page, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now, name="Chat bridge", retry_schedule=[])
    forge.receiver.answers["/"] = Answer(
        500, {"Content-Type": "text/html"}, b"<script>document.title = 'stolen'</script><h1>Database is down</h1>\x00"
    )
    forge.accept(now=now)
    deliver_due(sender, now=now)
    delivery = the_delivery()
    assert delivery.state == "failed"

    tab.get_by_role("link", name="Failed (last 24 hours)").or_(tab.get_by_role("link", name="Deliveries")).first.click()
    tab.get_by_role("link", name="Failed", exact=True).click()
    tab.get_by_role("link", name=str(delivery.pk)).click()
    expect(tab.locator("#attempt-1 .hh-body")).to_have_text(
        r"<script>document.title = 'stolen'</script><h1>Database is down</h1>\x00"
    )
    expect(tab).to_have_title(f"Delivery {delivery.pk} | HookHub")
    expect(tab.locator("#attempt-1")).to_contain_text("Content-Type: text/html")
    tab.get_by_role("button", name="Redeliver").click()
    expect(tab.locator(".messagelist")).to_have_text("1 delivery queued for redelivery.")
    assert (the_delivery().state, the_delivery().redeliveries) == ("pending", 1)

    forge.receiver.answers["/"] = Answer(200, {}, b"thank you")
    assert deliver_due(sender, now=timezone.now()) == {delivery.pk}

    tab.reload()
    expect(tab.locator(".hh-head")).to_contain_text("Delivered on attempt 2.")
    tab.locator("#attempt-2 summary").click()
    expect(tab.locator("#attempt-2 .hh-body")).to_have_text("thank you")
    assert list(Attempt.objects.order_by("number").values_list("number", "outcome")) == [
        (1, "failed"),
        (2, "delivered"),
    ]


def test_a_webhook_is_disabled_and_enabled_again_with_what_was_held(forge: Forge, tab: Page, now: datetime) -> None:
    webhook = forge.webhook(now=now, name="Chat bridge")
    forge.accept(2, now=now)

    tab.get_by_role("link", name="Webhooks").first.click()
    tab.get_by_role("link", name="Chat bridge").click()
    tab.get_by_role("button", name="Disable").click()
    expect(tab.locator(".messagelist")).to_have_text("Chat bridge disabled. 2 deliveries held.")
    expect(tab.locator(".hh-head")).to_contain_text("Disabled: by its owner")
    tab.get_by_role("button", name="Enable and send held deliveries").click()
    expect(tab.locator(".messagelist")).to_have_text("Chat bridge enabled. 2 deliveries queued.")

    webhook.refresh_from_db()
    assert webhook.active


def test_an_edit_that_will_not_do_is_refused_beside_its_field(forge: Forge, tab: Page, now: datetime) -> None:
    forge.webhook(now=now, name="Chat bridge")

    tab.goto(f"/admin/deliveries/webhook/{Webhook.objects.get().pk}/change/")
    tab.fill("#id_url", "ftp://example.com/")
    tab.get_by_role("button", name="Save", exact=True).click()

    expect(tab.locator(".field-url .errorlist")).to_be_visible()
    expect(tab.locator(".errorlist")).to_have_count(1)
    assert Webhook.objects.get().url == forge.receiver.url("/")


def test_a_list_is_paged_there_and_back_by_clicking(forge: Forge, tab: Page, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(230, now=now)

    ids = [str(delivery_id) for delivery_id in Delivery.objects.order_by("-id").values_list("id", flat=True)]

    tab.goto("/admin/deliveries/delivery/")
    rows = tab.locator("#result_list tbody tr")
    for first, count, onward in (
        (0, 100, "Next ›"),
        (100, 100, "Next ›"),
        (200, 30, "‹ Previous"),
        (100, 100, "‹ Previous"),
        (0, 100, None),
    ):
        expect(rows.first).to_contain_text(ids[first])
        expect(rows).to_have_count(count)
        if onward is not None:
            tab.get_by_role("link", name=onward).click()


def test_no_page_does_what_its_own_content_security_policy_forbids(
    forge: Forge, tab: Page, sender: Sender, now: datetime
) -> None:
    """The tab fails for every violation that the browser reports; each page gets time to run its scripts.

    One page of each kind: all pages are read as text in tests/integration/test_content_security_policy.py.
    """
    webhook = forge.webhook(now=now, name="Chat bridge")
    forge.accept(now=now)
    deliver_due(sender, now=now)
    delivery = Delivery.objects.get().pk
    admin = [
        "", f"deliveries/webhook/{webhook.pk}/change/", f"deliveries/webhook/{webhook.pk}/delete/",
        "deliveries/delivery/", f"deliveries/delivery/{delivery}/change/", "auth/user/add/",
    ]  # fmt: skip
    api = [f"webhooks/{webhook.uid}", "docs"]

    for address in [*(f"/admin/{page}" for page in admin), *(f"/v1/{page}" for page in api)]:
        tab.goto(address, wait_until="networkidle")

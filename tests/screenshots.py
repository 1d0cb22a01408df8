"""Renders the pictures of the documentation with a real HookHub and Chromium: `python -m tests.screenshots`."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests
from playwright.sync_api import Browser, Page

from hookhub.client import Client
from hookhub.embedded import service
from hookhub.procfile import ROOT
from testbed.processes import free_port
from testbed.servers import temporary_home
from tests import chromium
from tests.receiver import Answer, Receiver

IMAGES = ROOT / "docs" / "images"
PASSWORD = "screenshots-1"
OVERLOADED = Answer(503, {"Content-Type": "text/plain"}, b"the database is overloaded, try again")
QUICKLY = [1, 2]
PUSH = {
    "ref": "refs/heads/main",
    "before": "9049f1265b7d61be4a8904a9a27120d2064dab3b",
    "after": "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c",
    "commits": [{"id": "0d1a26e6", "message": "Carry the one", "author": {"name": "Ada Lovelace"}}],
    "pusher": {"name": "ada"},
}


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Poll until a condition holds."""
    give_up_at = time.monotonic() + 180
    while not is_so():
        assert time.monotonic() < give_up_at, f"timed out waiting for {what}"
        time.sleep(0.1)


def furnish(client: Client, receiver: Receiver) -> tuple[str, str]:
    """Make webhooks of every condition, and publish; return a delivery that failed twice first, and one that fails."""
    receiver.answers = {
        "/chat": [OVERLOADED, OVERLOADED, Answer(200, {"Content-Type": "text/plain"}, b"posted")],
        "/archive": Answer(500, {}, b"disk full"),
        "/mirror": Answer(410, {}, b"moved away"),
    }
    create = client.webhooks.create
    create(receiver.url("/ci"), events=["push", "pull_request"], name="CI runner")
    staging = create(receiver.url("/staging"), events=["*"], name="Staging")
    create(receiver.url("/releases"), events=["release"], name="Release bot", settings={"format": "github"})
    archive = create(receiver.url("/archive"), events=["*"], name="Audit archive")
    create(receiver.url("/mirror"), events=["*"], name="Old mirror", settings={"format": "coregit"})
    chat = create(receiver.url("/chat"), events=["*"], name="Chat bridge", settings={"retry_schedule": QUICKLY})
    client.publish("push", PUSH, repository="widgets")
    receiver.wait_for(5)
    client.webhooks.disable(staging["id"])
    [delivery] = client.deliveries.list(webhook=chat["id"])
    wait_until(lambda: client.deliveries.get(delivery["id"])["state"] == "delivered", "the third attempt")
    [failed] = client.deliveries.list(webhook=archive["id"])
    return str(delivery["id"]), str(failed["id"])


def take(page: Page, name: str) -> None:
    """Write a picture of the page."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / name)
    print(f"docs/images/{name}")


def take_portal(browser: Browser, url: str, key: str, *, failed: str) -> None:
    """Write pictures of the portal's pages: light and dark, and as on a telephone."""
    for suffix, theme, width in (("", "light", 1280), ("-dark", "dark", 1280), ("-390", "light", 390)):
        made = requests.post(
            f"{url}/v1/portal-sessions",
            json={"role": "manage", "theme": theme, "locale": "en", "time_zone": "UTC"},
            headers={"Authorization": f"Bearer {key}"},
            timeout=10,
        )
        made.raise_for_status()
        page = browser.new_page(base_url=url, viewport={"width": width, "height": 900})
        page.goto(made.json()["url"].replace("http://127.0.0.1:8000", url))
        take(page, f"portal-overview{suffix}.png")
        page.get_by_role("link", name="Audit archive").click()
        take(page, f"portal-webhook{suffix}.png")
        page.goto(f"/portal/deliveries/{failed}")
        take(page, f"portal-delivery{suffix}.png")
        page.close()


COUNT = ("shell", "--no-imports", "-c", "from deliveries.models import HourlyStats; print(HourlyStats.objects.count())")
# The hours before this one, as if the webhooks had been used for a day: `manage.py shell -c` runs it.
EARLIER_HOURS = """
import random
from datetime import timedelta
from deliveries.models import HourlyStats
rows = list(HourlyStats.objects.all())
random.seed(7)
earlier = []
for row in rows:
    for hours in range(1, 24):
        values = {name: getattr(row, name) for name in (
            "organization_id", "webhook_id", "delivered", "redirects", "client_errors", "server_errors", "timeouts",
            "unreachable", "tls_errors", "blocked", "other")}
        for name, count in values.items():
            if count and not name.endswith("_id"):
                values[name] = count * random.randint(2, 30)
        latencies = [count * random.randint(1, 9) for count in row.latencies]
        earlier.append(HourlyStats(hour=row.hour - timedelta(hours=hours), latencies=latencies, **values))
HourlyStats.objects.bulk_create(earlier)
print(len(rows))
"""


def main() -> None:
    with (
        temporary_home("hookhub-screenshots-") as home,
        tempfile.TemporaryDirectory() as folder,
        Receiver() as receiver,
    ):
        environment = {"HOOKHUB_HOME": str(home), "DATABASE_URL": "", "REDIS_URL": ""}
        log = Path(folder) / "up.log"
        with service.running("--no-first-steps", port=free_port(), log=log, environment=environment) as url:
            key = service.run(
                "create_api_key", "--organization", "acme", "--create-organization", "--scope", "master",
                environment=environment,
            ).split()[-1]  # fmt: skip
            service.run(
                "createsuperuser", "--no-input", "--username", "op", "--email", "op@example.com",
                environment={**environment, "DJANGO_SUPERUSER_PASSWORD": PASSWORD},
            )  # fmt: skip
            with Client(url, key) as client:
                made = requests.post(
                    f"{url}/v1/repositories", json={"name": "widgets"}, headers={"Authorization": f"Bearer {key}"},
                    timeout=10,
                )  # fmt: skip
                made.raise_for_status()
                delivery, failed = furnish(client, receiver)
            print("Waiting for the first hour to be counted …")
            wait_until(lambda: "\n0" not in "\n" + service.run(*COUNT, environment=environment), "the statistics")
            service.run("shell", "--no-imports", "-c", EARLIER_HOURS, environment=environment)
            with chromium.browser() as browser:
                page = browser.new_page(base_url=url, viewport={"width": 1280, "height": 900}, color_scheme="light")
                page.goto("/admin/")
                page.fill("#id_username", "op")
                page.fill("#id_password", PASSWORD)
                page.click("input[type=submit]")
                page.goto(f"/admin/deliveries/delivery/{delivery}/change/")
                page.locator("#attempt-2 summary").click()
                take(page, "admin-delivery.png")
                page.goto("/admin/deliveries/webhook/")
                page.set_viewport_size({"width": 1480, "height": 640})
                take(page, "admin-webhooks.png")
                take_portal(browser, url, key, failed=failed)


if __name__ == "__main__":
    os.environ.setdefault("NO_PROXY", "*")
    main()

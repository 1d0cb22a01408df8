"""The time of each page of the portal, with few deliveries and with millions."""

import statistics
import time
from collections.abc import Mapping

import requests

from bench import history, load
from bench.history import FINISHED
from bench.setup import SHORT_SECONDS, ReceiverProcess, fresh_instance, rows_asked_for
from testbed.instance import Instance
from testbed.processes import Log, wait_for

ROWS, ROWS_IF_SHORT = 1_000_000, 20_000
FEW = 200
# The history is that of these webhooks, all of one repository: the most whose deliveries a session searches together.
WEBHOOKS = 200
SIZE = 1024
# How often a page is loaded in turn with the others; the first loads are not counted.
LOADS, FIRST = 30, 3


def run(seconds: float, log: Log) -> dict[str, object]:
    """the median time of the portal's pages, with an almost empty log and with a long one."""
    rows = rows_asked_for(least=WEBHOOKS) or (ROWS_IF_SHORT if seconds < SHORT_SECONDS else ROWS)
    with ReceiverProcess() as receiver, fresh_instance() as instance:
        history.check_space(instance, rows)
        prepare(instance, receiver, log)
        history.vacuum(instance)
        few, _ = measure(instance, log)
        history.write_era(instance, FINISHED, deliveries=rows, webhooks=WEBHOOKS, log=log)
        history.count_hours(instance)
        history.vacuum(instance)
        many, largest = measure(instance, log)
    return {"rows": rows, "webhooks": WEBHOOKS, "largest_kb": round(largest / 1000), **figures(few, many)}


def figures(few: Mapping[str, float], many: Mapping[str, float]) -> dict[str, object]:
    """Return the times of each page in milliseconds, and their ratio."""
    found: dict[str, object] = {"slowest_ms": max(many.values())}
    for page, milliseconds in many.items():
        found[f"{page}_ms_few"], found[f"{page}_ms_many"] = few[page], milliseconds
        found[f"{page}_ms_ratio"] = round(milliseconds / few[page], 2)
    return found


def prepare(instance: Instance, receiver: ReceiverProcess, log: Log) -> None:
    """Create webhooks with a few deliveries, and those of which the history will be copies of these."""
    log("Starting a fresh HookHub …")
    with instance.started("web"):
        load.make_webhooks(instance, receiver.url(), fan_out=1)
        load.publish(instance, load.events(FEW, size=SIZE, fan_out=1), log)
        with instance.started("worker"):
            wait_for(receiver.count, "the first request")
            instance.wait_until_settled()
    history.add_crowd(instance, WEBHOOKS, per_repository=WEBHOOKS)


def measure(instance: Instance, log: Log) -> tuple[dict[str, float], int]:
    """Return the median time of each page in milliseconds, and the size of the largest in bytes."""
    # The webhook with the newest delivery, which has as many as any other.
    delivery = instance.ask("SELECT id::text FROM hookhub_delivery ORDER BY id DESC LIMIT 1")
    webhook = instance.ask(
        "SELECT w.uid::text FROM hookhub_delivery d JOIN hookhub_webhook w ON w.id = webhook_id WHERE d.id = %s::uuid",
        delivery,
    )
    times: dict[str, list[float]] = {}
    largest = 0
    with instance.started("web"), opened(instance) as all_of_it, opened(instance, repository="crowd-0") as one:
        asked = [(page, all_of_it, path) for page, path in pages(webhook, delivery).items()]
        asked += [(f"repository_{page}", one, path) for page, path in REPOSITORY_PAGES.items()]
        for _ in range(LOADS):
            for page, browser, path in asked:
                began = time.perf_counter()
                answer = browser.get(f"{instance.url}/portal/{path}", timeout=60)
                times.setdefault(page, []).append((time.perf_counter() - began) * 1000)
                answer.raise_for_status()
                largest = max(largest, len(answer.content))
    found = {page: round(statistics.median(each[FIRST:]), 1) for page, each in times.items()}
    log(f"  {found}")
    return found, largest


def pages(webhook: str, delivery: str) -> dict[str, str]:
    """Return the address of each page, below /portal/."""
    return {
        "overview": "",
        "overview_month": "?period=30d",
        "webhook": f"webhooks/{webhook}",
        "webhook_week": f"webhooks/{webhook}?period=7d",
        "webhook_month": f"webhooks/{webhook}?period=30d",
        "settings": f"webhooks/{webhook}/settings",
        "test": f"webhooks/{webhook}/test",
        "its_deliveries": f"webhooks/{webhook}/deliveries",
        "its_failed": f"webhooks/{webhook}/deliveries?state=failed",
        "deliveries": "deliveries",
        "failed": "deliveries?state=failed",
        "of_status": "deliveries?status=500",
        "of_text": "deliveries?text=nothing",
        "delivery": f"deliveries/{delivery}",
        "event_types": "event-types",
        "activity": "activity",
        "alerts": "alerts",
    }


# Of a session for the repository with all of the history. No delivery has this status, type or text, so that a search
# reads all that it may.
REPOSITORY_PAGES = {
    "overview": "",
    "month": "?period=30d",
    "deliveries": "deliveries",
    "failed": "deliveries?state=failed",
    "delivered": "deliveries?state=delivered",
    "of_status": "deliveries?status=500",
    "of_type": "deliveries?type=nothing",
    "of_text": "deliveries?text=nothing",
}


def opened(instance: Instance, *, repository: str = "") -> requests.Session:
    """Return a browser in which a session is open: for a repository, or for the whole organization."""
    browser = requests.Session()
    browser.trust_env = False
    key = {"Authorization": f"Bearer {instance.key}"}
    wanted = {"role": "manage", "scope": {"repository": repository} if repository else {}}
    made = browser.post(f"{instance.url}/v1/portal-sessions", json=wanted, headers=key, timeout=60)
    made.raise_for_status()
    token = made.json()["url"].partition("token=")[2]
    browser.get(f"{instance.url}/portal/enter?token={token}", timeout=60).raise_for_status()
    return browser

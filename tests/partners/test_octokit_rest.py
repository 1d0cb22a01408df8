"""Octokit, unmodified, manages the hooks of a repository as it does at GitHub."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from tests.partners import node
from tests.partners.live import Live, deliver
from tests.receiver import Answer, Receiver

WHERE = {"owner": "octocat", "repo": "Hello-World"}
PUSH = {"ref": "refs/heads/main", "commits": []}


class Octokit:
    """Octokit in a separate process, and the repository it works on."""

    def __init__(self, script: node.Running) -> None:
        self.script = script

    def call(self, name: str, **fields: Any) -> Any:
        return self.script.ask({"call": name, "with": {**WHERE, **fields}})

    def paginate(self, name: str, **fields: Any) -> Any:
        return self.script.ask({"call": name, "with": {**WHERE, **fields}, "paginate": True})


@pytest.fixture(params=["", "/api/v3"], ids=["as github.com", "as an Enterprise"])
def live(request: pytest.FixtureRequest, live_server: LiveServer) -> Live:
    return Live.make(live_server.url + request.param)


@pytest.fixture
def octokit(live: Live) -> Iterator[Octokit]:
    with node.running("octokit_rest.mjs", given={"url": live.url, "key": live.key}) as script:
        yield Octokit(script)


def test_a_hooks_life(live: Live, octokit: Octokit, receiver: Receiver) -> None:
    config = {"url": receiver.url("/hook"), "content_type": "json", "secret": "It's a Secret"}
    shown = {**config, "secret": "********", "insecure_ssl": "0"}

    created = octokit.call("createWebhook", config=config)
    hook = created["data"]
    number = {"hook_id": hook["id"]}
    assert (created["status"], created["location"]) == (201, hook["url"])
    assert (hook["type"], hook["name"], hook["events"], hook["config"]) == ("Repository", "web", ["push"], shown)
    assert octokit.call("getWebhook", **number)["data"] == hook

    changed = octokit.call("updateWebhook", **number, add_events=["pull_request"])
    assert changed["data"]["events"] == ["push", "pull_request"]
    changed = octokit.call("updateWebhook", **number, remove_events=["pull_request"], active=True)
    assert changed["data"]["events"] == ["push"]

    assert octokit.call("getWebhookConfigForRepo", **number)["data"] == shown
    config_now = octokit.call("updateWebhookConfigForRepo", **number, content_type="form")["data"]
    assert config_now == {**shown, "content_type": "form"}

    assert octokit.call("pingWebhook", **number)["status"] == 204
    deliver()
    assert octokit.call("testPushWebhook", **number)["status"] == 204
    live.publish("push", PUSH)
    deliver()
    assert [request.headers["x-socialgateway-event"] for request in receiver.received] == ["ping", "push", "push"]
    assert {request.headers["content-type"] for request in receiver.received} == {"application/x-www-form-urlencoded"}

    assert octokit.call("deleteWebhook", **number)["status"] == 204
    assert octokit.call("getWebhook", **number)["status"] == 404


def test_lists_over_pages(octokit: Octokit, receiver: Receiver) -> None:
    made = [
        octokit.call("createWebhook", config={"url": receiver.url(f"/{number}")})["data"]["id"] for number in range(7)
    ]

    found = octokit.paginate("listWebhooks", per_page=3)
    assert ([hook["id"] for hook in found["data"]], found["pages"]) == (made, 3)
    second = octokit.call("listWebhooks", per_page=3, page=2)
    assert [hook["id"] for hook in second["data"]] == made[3:6]
    assert [part.split("; ")[1] for part in second["link"].split(", ")] == [
        f'rel="{name}"' for name in ("prev", "next", "last", "first")
    ]


def test_a_delivery_is_found_and_sent_again(live: Live, octokit: Octokit, receiver: Receiver) -> None:
    receiver.answers["/hook"] = [Answer(400, body=b"not today"), Answer(200, body=b"thanks")]
    config = {"url": receiver.url("/hook"), "content_type": "json"}
    hook = octokit.call("createWebhook", config=config, events=["issues"])["data"]["id"]
    live.publish("issues.opened", {"issue": {"number": 1}})
    deliver()

    [failed] = octokit.call("listWebhookDeliveries", hook_id=hook, status="failure")["data"]
    assert (failed["event"], failed["action"], failed["status_code"]) == ("issues", "opened", 400)
    again = octokit.call("redeliverWebhookDelivery", hook_id=hook, delivery_id=failed["id"])
    assert (again["status"], again["data"]) == (202, {})
    deliver()

    deliveries = octokit.paginate("listWebhookDeliveries", hook_id=hook, per_page=1)
    assert deliveries["pages"] == 2
    assert [(row["guid"], row["redelivery"], row["status"]) for row in deliveries["data"]] == [
        (failed["guid"], True, "OK"), (failed["guid"], False, "Invalid HTTP Response: 400"),
    ]  # fmt: skip
    assert len({request.headers["x-socialgateway-delivery"] for request in receiver.received}) == 1
    assert octokit.call("listWebhookDeliveries", hook_id=hook, status="failure")["data"] == [failed]

    whole = octokit.call("getWebhookDelivery", hook_id=hook, delivery_id=deliveries["data"][0]["id"])["data"]
    assert whole["request"]["payload"] == {"issue": {"number": 1}}
    assert whole["response"]["payload"] == "thanks"


def test_numbers_survive_javascript(live: Live, octokit: Octokit, receiver: Receiver) -> None:
    hook = octokit.call("createWebhook", config={"url": receiver.url()}, events=["*"])["data"]["id"]
    for _ in range(20):
        live.publish("push", PUSH)
    deliver()

    rows = octokit.paginate("listWebhookDeliveries", hook_id=hook, per_page=7)["data"]
    assert (len(rows), len({row["id"] for row in rows})) == (20, 20)
    for row in rows:
        found = octokit.call("getWebhookDelivery", hook_id=hook, delivery_id=row["id"])["data"]
        assert (found["id"], found["guid"]) == (row["id"], row["guid"])


def test_refusals_arrive_as_the_clients_own_errors(octokit: Octokit, receiver: Receiver) -> None:
    missing = octokit.call("createWebhook", config={"content_type": "json"})
    unknown = octokit.call("createWebhook", config={"url": receiver.url()}, events=["pushed"])

    assert (missing["status"], missing["data"]["message"]) == (422, "Validation Failed")
    assert missing["data"]["errors"] == [{"resource": "Hook", "field": "url", "code": "missing_field"}]
    assert [(error["field"], error["code"]) for error in unknown["data"]["errors"]] == [("events", "invalid")]
    assert octokit.call("getWebhook", hook_id=999_999)["data"] == {"message": "Not Found"}

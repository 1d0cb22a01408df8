"""A webhook created through one dialect is visible and can be managed through the others."""

from datetime import datetime
from typing import Any

import pytest

from deliveries.models import Delivery, Organization, Webhook
from deliveries.sending.sender import Sender
from hookhub.models import Scope
from tests.api import Caller
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

AT_SIGMAGIT = "/api/repositories/acme/widgets/webhooks"
AT_SOCIAL_GATEWAY = "/repos/acme/widgets/hooks"
NATIVE = {"HookHub-Dialect": "native"}


@pytest.fixture
def caller(forge: Forge) -> Caller:
    return Caller.of(forge.organization, Scope.MASTER)


def speak(forge: Forge, system: str) -> None:
    Organization.objects.filter(pk=forge.organization.pk).update(default_dialect=system)


def make_at_sigmagit(caller: Caller, url: str) -> str:
    return str(caller.post(AT_SIGMAGIT, {"url": url, "events": ["push"]}).json()["data"]["id"])


def make_at_coregit(caller: Caller, url: str) -> str:
    return str(caller.post("/v1/webhooks", {"url": url, "events": ["push"]}).json()["id"])


def make_at_social_gateway(caller: Caller, url: str) -> str:
    answer = caller.post(AT_SOCIAL_GATEWAY, {"config": {"url": url, "content_type": "json"}, "events": ["push"]})
    return str(Webhook.objects.get(pk=answer.json()["id"]).uid)


MADE_FOR_THE_REPOSITORY = {"sigmagit": make_at_sigmagit, "social-gateway": make_at_social_gateway}


@pytest.mark.parametrize("system", ["native", "codmir", "coregit"])
@pytest.mark.parametrize("door", MADE_FOR_THE_REPOSITORY)
def test_what_was_made_at_a_vendors_door_is_managed_at_hookhubs_own(
    forge: Forge, caller: Caller, system: str, door: str
) -> None:
    speak(forge, system)
    uid = MADE_FOR_THE_REPOSITORY[door](caller, forge.receiver.url())
    address = f"/v1/webhooks/{uid}"

    shown = caller.send("GET", address, None, headers=NATIVE).json()
    listed = caller.get("/v1/webhooks").json()
    changed = caller.patch(address, {"events": ["*"], "active": False}).json()
    enabled = caller.post(f"{address}/enable").json()
    rotated = caller.post(f"{address}/rotate-secret").json()

    assert (shown["repository"], shown["format"], shown["events"]) == ("widgets", door, ["push"])
    assert [row["id"] for row in listed["webhooks" if system == "coregit" else "results"]] == [uid]
    assert (changed["events"], changed["active"], enabled["active"]) == (["*"], False, True)
    assert rotated["secret"] != ""
    assert caller.delete(address).status_code == (200 if system == "coregit" else 204)
    assert caller.get(AT_SIGMAGIT).json() == {"data": []}
    assert caller.get(AT_SOCIAL_GATEWAY).json() == []


def test_what_was_made_at_coregits_door_is_managed_at_sigmagits_by_its_id(forge: Forge, caller: Caller) -> None:
    speak(forge, "coregit")
    uid = make_at_coregit(caller, forge.receiver.url())

    changed = caller.patch(f"/api/webhooks/{uid}", {"active": False}).json()["data"]
    seen = caller.get(f"/v1/webhooks/{uid}").json()
    # It belongs to the organization, so no repository's list contains it.
    listed = [caller.get(AT_SIGMAGIT).json()["data"], caller.get(AT_SOCIAL_GATEWAY).json()]
    deleted = caller.delete(f"/api/webhooks/{uid}").json()

    assert (changed["repositoryId"], changed["active"], seen["active"]) == (None, False, False)
    assert (listed, deleted) == ([[], []], {"success": True})
    assert caller.get("/v1/webhooks").json() == {"webhooks": []}


def test_a_repositorys_webhooks_are_the_same_at_every_door(forge: Forge, caller: Caller) -> None:
    made = [
        make_at_sigmagit(caller, forge.receiver.url("/1")),
        make_at_social_gateway(caller, forge.receiver.url("/2")),
        caller.post(
            "/v1/webhooks", {"url": forge.receiver.url("/3"), "events": ["push"], "repository": "widgets"}
        ).json()["id"],
    ]

    at_sigmagit = {row["id"]: row["url"] for row in caller.get(AT_SIGMAGIT).json()["data"]}
    at_social_gateway = [row["config"]["url"] for row in caller.get(AT_SOCIAL_GATEWAY).json()]
    at_hookhub = {row["id"]: row["url"] for row in caller.get("/v1/webhooks?repository=widgets").json()["results"]}

    assert at_sigmagit == at_hookhub
    assert set(at_sigmagit) == set(made)
    assert at_social_gateway == [forge.receiver.url(f"/{number}") for number in (1, 2, 3)]


def test_one_push_reaches_the_receivers_of_all_doors_in_the_words_of_each(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    make_at_sigmagit(caller, forge.receiver.url("/sigmagit"))
    make_at_social_gateway(caller, forge.receiver.url("/social-gateway"))
    caller.post("/v1/webhooks", {"url": forge.receiver.url("/coregit"), "events": ["push"], "format": "coregit"})
    caller.post("/v1/webhooks", {"url": forge.receiver.url("/codmir"), "events": ["push"], "format": "codmir"})
    caller.post("/v1/webhooks", {"url": forge.receiver.url("/code-storage"), "events": ["*"], "format": "code-storage"})
    forge.accept(now=now)

    deliver_due(sender, now=now)

    told = {request.path: request.headers for request in forge.receiver.received}
    event_of = {
        "/sigmagit": "x-sigmagit-event", "/social-gateway": "x-socialgateway-event", "/coregit": "x-coregit-event",
        "/codmir": "x-codmir-event", "/code-storage": "x-pierre-event",
    }  # fmt: skip
    assert {path: told[path][name] for path, name in event_of.items()} == dict.fromkeys(event_of, "push")
    assert Delivery.objects.filter(state="delivered").count() == 5


def test_attempts_are_in_the_log_of_every_door(forge: Forge, caller: Caller, sender: Sender, now: datetime) -> None:
    uid = make_at_social_gateway(caller, forge.receiver.url())
    forge.accept(now=now)
    deliver_due(sender, now=now)

    [row] = caller.get(f"/api/webhooks/{uid}/deliveries").json()["data"]
    [delivery] = caller.get(f"/v1/deliveries?webhook={uid}").json()["results"]

    assert (row["statusCode"], row["payload"]) == (200, {"ref": "refs/heads/main"})
    assert (delivery["state"], delivery["last_status"]) == ("delivered", 200)
    assert caller.get(f"/api/webhooks/{uid}/stats").json()["data"]["successRate"] == 100


@pytest.mark.parametrize(
    ("system", "wire_format"),
    [("native", "standard-webhooks"), ("coregit", "coregit"), ("codmir", "codmir"), ("sigmagit", "sigmagit")],
)
def test_the_default_dialect_decides_the_format_here_and_sigmagits_door_stays_sigmagits(
    forge: Forge, caller: Caller, system: str, wire_format: str
) -> None:
    speak(forge, system)
    wanted: dict[str, Any] = {"url": forge.receiver.url(), "events": ["*"]}

    caller.post("/v1/webhooks", wanted)
    make_at_sigmagit(caller, forge.receiver.url())

    assert list(Webhook.objects.order_by("pk").values_list("format", flat=True)) == [wire_format, "sigmagit"]


@pytest.mark.parametrize("system", ["coregit", "codmir", "sigmagit"])
def test_a_type_of_the_organizations_own_can_be_asked_for_at_every_door(
    forge: Forge, caller: Caller, other: Caller, system: str
) -> None:
    speak(forge, system)
    address = AT_SIGMAGIT if system == "sigmagit" else "/v1/webhooks"
    wanted = {"url": forge.receiver.url(), "events": ["push" if system != "codmir" else "ticket", "kettle.boiled"]}

    before = caller.post(address, wanted)
    caller.post("/v1/event-types", {"type": "kettle.boiled"})
    after = caller.post(address, wanted)

    assert before.status_code == (400 if system == "coregit" else 422)
    assert "'kettle.boiled' is not an event type of" in before.content.decode()
    assert after.status_code == (200 if system == "sigmagit" else 201)
    assert Webhook.objects.get().events == wanted["events"]

"""The story in which every operation of the OpenAPI document succeeds; its calls are the examples of the document."""

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.utils import timezone

from deliveries import pipeline
from deliveries.models import Attempt
from hookhub.dialects.social_gateway.delivery_ids import number_of
from tests.api import Caller
from tests.documents import Document, Operation
from tests.examples import FORM, Recording
from tests.partners.live import deliver
from tests.receiver import Answer, Receiver

JSON, NDJSON = "application/json", "application/x-ndjson"
ENTERPRISE = "/api/v3"


class Exerciser:
    """Calls operations of the document, and records which succeeded and what differed from the document."""

    def __init__(self, document: Document, caller: Caller) -> None:
        self.document = document
        self.caller = caller
        self.succeeded: set[Operation] = set()
        self.faults: list[str] = []
        self.may_be_stored: set[Operation] = set()
        self.recording = Recording()

    def call(
        self, method: str, path: str, body: object = None, *, query: str = "", media: str = JSON, **parts: object
    ) -> Any:
        """Call an operation and require success."""
        operation = Operation(method, path)
        address = path.format(**parts) + query
        answer = self.caller.send(method, address, body, content_type=media)
        assert 200 <= answer.status_code < 300, (method, address, answer.content)
        self.succeeded.add(operation)
        if answer.headers.get("Cache-Control") != "no-store":
            self.may_be_stored.add(operation)
        self.faults += self.document.faults(operation, answer)
        content = b"".join(answer.streaming_content) if getattr(answer, "streaming", False) else answer.content
        result = json.loads(content) if content else None
        self.recording.keep(operation, media, body, answer.status_code, result)
        return result


def play(exerciser: Exerciser, receiver: Receiver) -> None:
    """Call every operation."""
    organizations(exerciser, receiver)
    hooks = webhooks(exerciser, receiver)
    events_and_deliveries(exerciser, hooks)
    sigmagit(exerciser, receiver)
    for prefix in ("", ENTERPRISE):
        social_gateway(exerciser, receiver, prefix)


def organizations(exerciser: Exerciser, receiver: Receiver) -> None:
    call = exerciser.call
    call("GET", "/v1/meta")
    call("POST", "/v1/organizations", {"slug": "acme"})
    call("GET", "/v1/organizations")
    call("GET", "/v1/organizations/{slug}", slug="acme")
    call("GET", "/v1/organizations/{slug}/timeseries", slug="acme")
    call("GET", "/v1/organizations/{slug}/portal", slug="acme")
    call("PATCH", "/v1/organizations/{slug}/portal", {"embed_origins": ["https://app.example"]}, slug="acme")
    call("PATCH", "/v1/organizations/{slug}", {"name": "Acme", "default_format": "github"}, slug="acme")
    call("PATCH", "/v1/organizations/{slug}", {"default_format": None}, slug="acme")
    for name in ("widgets", "gone"):
        call("POST", "/v1/repositories", {"name": name})
    call("GET", "/v1/repositories", query="?limit=1")
    call("GET", "/v1/repositories/{name}", name="widgets")
    call("PATCH", "/v1/repositories/{name}", {"private": False}, name="widgets")
    call("DELETE", "/v1/repositories/{name}", name="gone")
    call("GET", "/v1/audit")
    call("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "ping"})
    key = call("POST", "/v1/api-keys", {"scope": "read"})
    call("GET", "/v1/api-keys")
    call("PATCH", "/v1/api-keys/{key_id}", {"name": "reader"}, key_id=key["id"])
    call("POST", "/v1/api-keys/{key_id}/roll", {"overlap_seconds": 3600}, key_id=key["id"])
    channel = call("POST", "/v1/alert-channels", {"type": "email", "recipients": ["ops@acme.example"]})
    call("GET", "/v1/alert-channels")
    call("GET", "/v1/alert-channels/{uid}", uid=channel["id"])
    call("PATCH", "/v1/alert-channels/{uid}", {"from_percent": 90, "kinds": ["failing"]}, uid=channel["id"])
    test = call("POST", "/v1/alert-channels/{uid}/test", uid=channel["id"])
    call("GET", "/v1/alerts", query=f"?channel={channel['id']}&kind=test")
    call("GET", "/v1/alerts/{uid}", uid=test["id"])
    call("DELETE", "/v1/alert-channels/{uid}", uid=channel["id"])
    signing = call("POST", "/v1/alert-channels", {"type": "webhook", "url": receiver.url("/alerts")})
    call("POST", "/v1/alert-channels/{uid}/rotate-secret", {"overlap": 3600}, uid=signing["id"])
    session = call("POST", "/v1/portal-sessions", {"role": "manage", "scope": {"repository": "widgets"}})
    call("GET", "/v1/portal-sessions")
    call("GET", "/v1/portal-sessions/{uid}", uid=session["id"])
    call("DELETE", "/v1/portal-sessions/{uid}", uid=session["id"])
    call("DELETE", "/v1/api-keys/{key_id}", key_id=key["id"])
    call("GET", "/v1/api-keys/{key_id}", key_id=key["id"])
    call("GET", "/v1/event-types")
    call("POST", "/v1/event-types", {"type": "build.finished"})
    call("PATCH", "/v1/event-types/{name}", {"schema": {"type": "object"}, "example": {"ok": 1}}, name="build.finished")
    call("GET", "/v1/event-types/{name}", name="build.finished")
    call("DELETE", "/v1/event-types/{name}", name="build.finished")
    call("GET", "/v1/event-types/{name}", name="push", query="?dialect=sigmagit")
    call("GET", "/v1/event-types/{name}/schema", name="push")
    call("GET", "/v1/schemas.json")
    call("GET", "/v1/asyncapi.json")


def webhooks(exerciser: Exerciser, receiver: Receiver) -> list[str]:
    """Return the ids of two webhooks: one that succeeds, and one that fails first."""
    call = exerciser.call
    receiver.answers["/deploys"] = [Answer(500, body=b"no")]
    url = receiver.url("/hookhub")
    good = call(
        "POST",
        "/v1/webhooks",
        {
            "url": url,
            "events": ["*"],
            "headers": {"X-Token": "t0ken"},
            "retry_schedule": [60, 300.5],
            "rate_limit": {"requests": 100, "per": 1},
        },
    )["id"]
    bad = call("POST", "/v1/webhooks", {"url": receiver.url("/deploys"), "events": ["*"], "repository": "widgets"})[
        "id"
    ]
    slack = call("POST", "/v1/webhooks", {"url": receiver.url("/services/T1/B1/x"), "events": ["*"], "format": "slack"})
    assert "secret" not in slack
    call("GET", "/v1/webhooks", query="?limit=2")
    call("GET", "/v1/webhooks/{uid}", uid=good)
    call("PATCH", "/v1/webhooks/{uid}", {"name": "first", "timeout": 2.5}, uid=good)
    call("PATCH", "/v1/webhooks/{uid}", {"url": url.replace("127.0.0.1", "localhost")}, uid=good)
    call("PATCH", "/v1/webhooks/{uid}", {"url": url}, uid=good)
    call("PATCH", "/v1/webhooks/{uid}/headers", {"headers": {"X-New": "1", "X-Token": None}}, uid=good)
    call("POST", "/v1/webhooks/{uid}/rotate-secret", {"overlap": 60}, uid=good)
    call("POST", "/v1/webhooks/{uid}/ping", uid=good)
    call("POST", "/v1/webhooks/{uid}/verify", uid=good)
    call("POST", "/v1/webhooks/{uid}/test", {"type": "repository.created"}, uid=good)
    # The example of a time that does not move with the story's would be another one on each day.
    days_ago = f"{timezone.now() - timedelta(days=6, hours=12):%Y-%m-%dT%H:%M:%SZ}"
    call("GET", "/v1/webhooks/{uid}/replay-missing", uid=good, query=f"?after={days_ago}")
    call("POST", "/v1/webhooks/{uid}/replay-missing", {"after": days_ago}, uid=good)
    call("GET", "/v1/webhooks/{uid}/stats", uid=slack["id"], query="?hours=1")
    call("GET", "/v1/webhooks/{uid}/timeseries", uid=slack["id"], query="?step=day")
    call("DELETE", "/v1/webhooks/{uid}", uid=slack["id"])
    polled = call("POST", "/v1/webhooks", {"kind": "poll", "events": ["*"]})["id"]
    call("POST", "/v1/webhooks/{uid}/ping", uid=polled)
    pipeline.fan_out(now=timezone.now())
    page = call("GET", "/v1/webhooks/{uid}/poll", uid=polled, query="?limit=1&consumer=one")
    assert len(page["events"]) == 1
    where = {"uid": polled, "name": "one"}
    call("PUT", "/v1/webhooks/{uid}/consumers/{name}", {"cursor": page["cursor"]}, **where)
    call("GET", "/v1/webhooks/{uid}/consumers", uid=polled)
    call("DELETE", "/v1/webhooks/{uid}/consumers/{name}", **where)
    return [good, bad]


def events_and_deliveries(exerciser: Exerciser, hooks: list[str]) -> None:
    call = exerciser.call
    lines = b'{"type": "push", "data": {"ref": "refs/heads/main"}}\n{"type": "build.finished", "data": {"ok": true}}\n'
    call("POST", "/v1/events/validate", [{"type": "push", "data": {"ref": "refs/heads/main"}}])
    call("POST", "/v1/events/validate", lines, media=NDJSON)
    event = call(
        "POST",
        "/v1/events",
        {"type": "push", "data": {"ref": "refs/heads/main"}, "repository": "widgets", "id": "push-4711"},
    )
    call("POST", "/v1/events", [{"type": "push", "data": None}, {"type": "push", "data": [1]}])
    call("POST", "/v1/events", lines, media=NDJSON)
    deliver()
    call("GET", "/v1/events")
    call("GET", "/v1/events/{uid}", uid=event["id"])
    call("GET", "/v1/webhooks/{uid}", uid=hooks[1])
    call("GET", "/v1/webhooks/{uid}/stats", uid=hooks[0])
    rows = call("GET", "/v1/deliveries", query="?limit=3")["results"]
    for row in rows:
        call("GET", "/v1/deliveries/{uid}", uid=row["id"])
    delivered = call("GET", "/v1/deliveries", query="?state=delivered&state=pending")["results"][0]
    call("POST", "/v1/deliveries/{uid}/redeliver", uid=delivered["id"])
    call("POST", "/v1/deliveries/{uid}/cancel", uid=delivered["id"])
    call("POST", "/v1/webhooks/{uid}/disable", uid=hooks[1])
    call("GET", "/v1/webhooks/{uid}", uid=hooks[1])
    call("POST", "/v1/webhooks/{uid}/enable", {"release_held": True}, uid=hooks[1])
    replay = call("POST", "/v1/replays", {"state": ["delivered"], "webhook": hooks[0]})
    call("GET", "/v1/replays")
    call("GET", "/v1/replays/{uid}", uid=replay["id"])
    call("POST", "/v1/replays/{uid}/cancel", uid=replay["id"])


def sigmagit(exerciser: Exerciser, receiver: Receiver) -> None:
    call, hooks = exerciser.call, "/api/repositories/{owner}/{repo}/webhooks"
    where = {"owner": "acme", "repo": "widgets"}
    webhook = call("POST", hooks, {"url": receiver.url("/sigmagit")}, **where)["data"]["id"]
    call("GET", hooks, **where)
    call("POST", "/v1/events", {"type": "push", "data": {}, "repository": "widgets"})
    deliver()
    call("PATCH", "/api/webhooks/{webhook}", {"active": True}, webhook=webhook)
    moved = {"url": receiver.url("/moved").replace("127.0.0.1", "localhost")}
    assert call("PATCH", "/api/webhooks/{webhook}", moved, webhook=webhook)["data"]["secret"]
    call("GET", "/api/webhooks/{webhook}/deliveries", webhook=webhook)
    call("GET", "/api/webhooks/{webhook}/stats", webhook=webhook)
    call("DELETE", "/api/webhooks/{webhook}", webhook=webhook)


def social_gateway(exerciser: Exerciser, receiver: Receiver, prefix: str) -> None:
    call, hooks = exerciser.call, prefix + "/repos/{owner}/{repo}/hooks"
    where: dict[str, object] = {"owner": "acme", "repo": "widgets"}
    for path in ("/user", "/rate_limit", "/hooks"):
        call("GET", prefix + path)
    call("GET", prefix + "/users/{owner}", owner="ACME")
    call("GET", prefix + "/orgs/{owner}", owner="acme")
    call("GET", prefix + "/repos/{owner}/{repo}", owner="Acme", repo="Widgets")
    number = call("POST", hooks, {"config": {"url": receiver.url(f"/hook{prefix}")}}, **where)["id"]
    where["webhook"] = number
    call("POST", hooks + "/{webhook}/pings", **where)
    # Before the others, so that the first attempt is the ping's.
    deliver()
    call("POST", hooks + "/{webhook}/tests", **where)
    call("POST", hooks + "/{webhook}/test", **where)
    deliver()
    topic = {"hub.topic": "http://testserver/acme/widgets/events/push", "hub.callback": receiver.url("/hub")}
    call("POST", f"{prefix}/hub", urlencode({"hub.mode": "subscribe", **topic}).encode(), media=FORM)
    call("GET", "/{owner}/{repo}/events/{event}", event="push", **where)
    call("GET", hooks, owner="acme", repo="widgets")
    call("GET", hooks + "/{webhook}", **where)
    call("PATCH", hooks + "/{webhook}", {"add_events": ["issues"]}, **where)
    call("GET", hooks + "/{webhook}/config", **where)
    call("PATCH", hooks + "/{webhook}/config", {"content_type": "json"}, **where)
    call("GET", hooks + "/{webhook}/deliveries", **where)
    where["delivery"] = number_of(Attempt.objects.filter(webhook_id=number).order_by("pk")[0].id)
    call("GET", hooks + "/{webhook}/deliveries/{delivery}", **where)
    call("POST", hooks + "/{webhook}/deliveries/{delivery}/attempts", **where)
    call("DELETE", hooks + "/{webhook}", owner="acme", repo="widgets", webhook=number)

"""The OpenAPI document is correct: every operation is called, and every response, success or error, matches it."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from deliveries import pipeline
from deliveries.models import Attempt, Organization, Repository
from hookhub.dialects.social_gateway.delivery_ids import number_of
from hookhub.models import Scope
from tests.api import Caller
from tests.documents import Document, Operation
from tests.partners.live import deliver
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db(transaction=True)

NOWHERE = "00000000-0000-7000-8000-000000000000"
ENTERPRISE = "/api/v3"
SHOWING_SECRETS = {
    Operation("POST", "/v1/api-keys"), Operation("POST", "/v1/api-keys/{key_id}/roll"),
    Operation("POST", "/v1/webhooks"), Operation("PATCH", "/v1/webhooks/{uid}"),
    Operation("POST", "/v1/webhooks/{uid}/rotate-secret"),
    Operation("POST", "/api/repositories/{owner}/{repo}/webhooks"), Operation("PATCH", "/api/webhooks/{webhook}"),
}  # fmt: skip


JSON, FORM = "application/json", "application/x-www-form-urlencoded"


class Exerciser:
    """Calls operations of the document, and records which succeeded and what differed from the document."""

    def __init__(self, document: Document, caller: Caller) -> None:
        self.document = document
        self.caller = caller
        self.succeeded: set[Operation] = set()
        self.faults: list[str] = []
        self.may_be_stored: set[Operation] = set()

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
        content = answer.content if not getattr(answer, "streaming", False) else b""
        return json.loads(content) if content else None


@pytest.fixture
def document(db: None) -> Document:
    return Document()


@pytest.fixture
def exerciser(document: Document, operator: Caller) -> Exerciser:
    return Exerciser(document, operator)


def test_every_operation_succeeds_as_the_document_says(
    document: Document, exerciser: Exerciser, receiver: Receiver
) -> None:
    organizations(exerciser)
    hooks = webhooks(exerciser, receiver)
    events_and_deliveries(exerciser, hooks)
    sigmagit(exerciser, receiver)
    for prefix in ("", ENTERPRISE):
        social_gateway(exerciser, receiver, prefix)

    assert exerciser.faults == []
    assert {operation for operation, _ in document.operations()} - exerciser.succeeded == set()
    # No proxy or browser may store a response that shows a secret.
    assert exerciser.may_be_stored & document.showing_secrets() == set()
    assert document.showing_secrets() >= SHOWING_SECRETS


def organizations(exerciser: Exerciser) -> None:
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
    call("POST", "/v1/api-keys/{key_id}/roll", key_id=key["id"])
    channel = call("POST", "/v1/alert-channels", {"type": "email", "recipients": ["ops@acme.example"]})
    call("GET", "/v1/alert-channels")
    call("GET", "/v1/alert-channels/{uid}", uid=channel["id"])
    call("PATCH", "/v1/alert-channels/{uid}", {"from_percent": 90, "kinds": ["failing"]}, uid=channel["id"])
    test = call("POST", "/v1/alert-channels/{uid}/test", uid=channel["id"])
    call("GET", "/v1/alerts", query=f"?channel={channel['id']}&kind=test")
    call("GET", "/v1/alerts/{uid}", uid=test["id"])
    call("DELETE", "/v1/alert-channels/{uid}", uid=channel["id"])
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


def webhooks(exerciser: Exerciser, receiver: Receiver) -> list[str]:
    """Return the ids of two webhooks: one that succeeds, and one that fails first."""
    call = exerciser.call
    signing = call("POST", "/v1/alert-channels", {"type": "webhook", "url": receiver.url("/alerts")})
    call("POST", "/v1/alert-channels/{uid}/rotate-secret", {"overlap": 3600}, uid=signing["id"])
    receiver.answers["/bad"] = [Answer(500, body=b"no")]
    url = receiver.url("/good")
    good = call(
        "POST", "/v1/webhooks", {"url": url, "events": ["*"], "headers": {"X-Token": "t"}, "retry_schedule": [1.5]}
    )["id"]
    bad = call("POST", "/v1/webhooks", {"url": receiver.url("/bad"), "events": ["*"], "repository": "widgets"})["id"]
    slack = call("POST", "/v1/webhooks", {"url": receiver.url("/chat"), "events": ["*"], "format": "slack"})
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
    call("GET", "/v1/webhooks/{uid}/replay-missing", uid=good, query="?after=2026-03-04T00:00:00Z")
    call("POST", "/v1/webhooks/{uid}/replay-missing", {"after": "2026-03-04T00:00:00Z"}, uid=good)
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
    call("POST", "/v1/events/validate", [{"type": "push", "data": {}}])
    event = call("POST", "/v1/events", {"type": "push", "data": {"n": 1}, "repository": "widgets", "id": "once"})
    call("POST", "/v1/events", [{"type": "push", "data": None}, {"type": "push", "data": [1]}])
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
    moved = {"url": receiver.url("/elsewhere").replace("127.0.0.1", "localhost")}
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


def test_every_operation_fails_as_the_document_says(
    document: Document, organization: Organization, operator: Caller
) -> None:
    Repository.objects.create(organization=organization, name="widgets")
    refused = [Caller("hh_000000000000_" + "a" * 43), Caller.of(organization, Scope.PUBLISH)]
    masters = [Caller.of(organization), operator]
    faults: list[str] = []
    seen: set[tuple[Operation, int]] = set()

    for operation, said in document.operations():
        for position, (method, address, body) in enumerate(tries(operation, "requestBody" in said)):
            # A caller without access is rejected, whatever else is wrong with the request.
            callers = [masters[position % 2]] if position > 1 else [*masters, *refused]
            media = FORM if address.endswith("/hub") else JSON
            for answer in [caller.send(method, address, body, content_type=media) for caller in callers]:
                faults += document.faults(operation, answer)
                seen.add((operation, answer.status_code))

    assert faults == []
    with_a_key = {
        operation for operation, said in document.operations() if said.get("security") and {} not in said["security"]
    }
    assert with_a_key - {operation for operation, status in seen if status == 401} == set()
    with_a_body = {operation for operation, said in document.operations() if "requestBody" in said}
    assert with_a_body - {operation for operation, status in seen if status in {400, 404, 422}} == set()


def tries(operation: Operation, has_body: bool) -> Iterator[tuple[str, str, object]]:
    """Yield requests that fail or are harmless: for rows that do not exist, and with invalid bodies."""
    parts = {"owner": "acme", "repo": "widgets", "webhook": NOWHERE, "delivery": "1", "slug": "nowhere", "event": "x"}
    there = operation.path.format(**parts, uid=NOWHERE, key_id="0" * 12, name="nowhere")
    bodies: list[object] = [b"{", b"[]", b'{"unknown": 1}', b"\xff", b"null"] if has_body else [None]
    for body in bodies:
        yield operation.method, there, body
    elsewhere = operation.path.format(**{**parts, "owner": "no%00body"}, uid="not-an-id", key_id="%00", name="%00")
    yield operation.method, elsewhere, None
    if operation.method == "GET":
        for query in ("unknown=1", "limit=0", "limit=" + "9" * 5000, "cursor=%F0", "cursor=AAAA", "organization=%00"):
            yield operation.method, f"{there}?{query}", None


def test_the_document_says_where_it_is_served_and_what_each_operation_is_for(document: Document) -> None:
    assert document.content["servers"][0]["url"] == "http://127.0.0.1:8000"
    summaries = {operation: said.get("summary", "") for operation, said in document.operations()}
    assert [operation for operation, summary in summaries.items() if not summary] == []
    assert all(summary[0].isupper() and not summary.endswith(".") for summary in summaries.values())
    names = [said["operationId"] for _, said in document.operations()]
    assert len(set(names)) == len(names)


def test_the_document_has_no_media_type_and_no_enum_that_generators_cannot_read(document: Document) -> None:
    read = {media for _, said in document.operations() for media in said.get("requestBody", {}).get("content", {})}

    assert read == {JSON, "application/x-ndjson", FORM, "multipart/form-data"}
    assert {"enum": [None]} not in document.content["components"]["schemas"].values()
    assert "oneOf" not in json.dumps(document.content["paths"]["/v1/webhooks"])


def test_a_reference_is_never_nullable_for_in_this_version_it_could_not_be(document: Document) -> None:
    def nullable_references(node: Any) -> Iterator[Any]:
        if isinstance(node, dict):
            if node.get("nullable") and ("$ref" in json.dumps(node.get("allOf", node.get("oneOf", [])))):
                yield node
            for inner in node.values():
                yield from nullable_references(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from nullable_references(inner)

    assert list(nullable_references(document.content)) == []
    finish_reason = document.content["components"]["schemas"]["Delivery"]["properties"]["finish_reason"]
    assert (finish_reason["nullable"], finish_reason["enum"][-1]) == (True, None)

"""The OpenAPI document names exactly the errors that each operation returns: all are provoked, at all operations."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from deliveries import rates
from deliveries.models import Delivery, Organization, Repository, Webhook
from deliveries.polling import MAX_CONSUMERS
from deliveries.webhooks import lifecycle
from hookhub.descriptions import examples
from hookhub.http import authentication
from hookhub.models import ApiKey, Scope
from hookhub.replays import MAX_RUNNING
from tests.api import Caller
from tests.api_story import JSON
from tests.documents import Document, Operation
from tests.examples import FORM, compare
from tests.front import Sent, serve
from tests.story import Forge

pytestmark = pytest.mark.django_db(transaction=True)

NOWHERE = "00000000-0000-7000-8000-000000000000"
# A body that does not arrive in time is the matter of tests/unit/test_server_body.py.
SLOW = 408
REFUSED = "the database is away"
MEDIA = ("text/csv", FORM, JSON)
# How long to wait depends on when a minute began.
WAIT = re.compile(rb"Retry after \d+ s")
# The parts of a path by the kind of what it leads to.
Rows = dict[str, dict[str, str]]
# Bodies that some operation reads, about what is not there.
SOUND = (
    b'{"type": "push", "data": 1}',
    b"hub.mode=subscribe&hub.topic=x&hub.callback=http://x/",
    b"hub.mode=subscribe&hub.topic=http://testserver/a/b/events/push&hub.callback=http://x/",
    b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 1}}',
)
BROKEN = (b"{", b"[]", b'{"unknown": 1}', b"\xff", b"null")


class Seen:
    """The statuses of errors that each operation returned, and what was wrong with their bodies."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.statuses: dict[Operation, set[int]] = defaultdict(set)
        self.faults: list[str] = []
        self.bodies: dict[str, Any] = {}

    def add(self, operation: Operation, answer: Any) -> None:
        """Record an answer; one of success only has to be documented."""
        self.faults += self.document.faults(operation, answer)
        if answer.status_code < 400:
            return
        self.statuses[operation].add(answer.status_code)
        response = self.document.content["paths"][operation.path][operation.method.lower()]["responses"]
        name = str(response.get(str(answer.status_code), {}).get("$ref", "")).rpartition("/")[2]
        if name and answer.headers["Content-Type"].startswith(JSON):
            self.bodies.setdefault(name, json.loads(WAIT.sub(b"Retry after 30 s", answer.content)))


@pytest.fixture
def document(db: None) -> Document:
    return Document()


@pytest.fixture
def widgets(organization: Organization) -> Repository:
    Organization.objects.create(slug="other")
    return Repository.objects.create(organization=organization, name="widgets")


def test_each_operation_returns_the_errors_that_the_document_names_and_no_other(
    document: Document, organization: Organization, widgets: Repository, forge_of_conflicts: "Conflicts",
    settings: Settings, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen = Seen(document)
    master, operator = Caller.of(organization), Caller.of(None)
    without_access(seen, organization)
    with_invalid_requests(seen, master, rows(master))
    with_invalid_requests(seen, operator, {}, below="/v1/organizations")
    too_large(seen, master)
    forge_of_conflicts.provoke(seen)
    without_a_database(seen, master)
    monkeypatch.setattr(rates, "_counters", None)
    settings.HOOKHUB_REQUESTS_PER_ADDRESS = 1
    beyond_the_rate(seen, master)

    assert sorted(set(seen.faults)) == []
    documented = {
        operation: {int(status) for status in said["responses"] if status[0] in "45"} - {SLOW}
        for operation, said in document.operations()
    }
    wrong = {
        f"{operation.method} {operation.path}": (f"only documented: {said - found}", f"only returned: {found - said}")
        for operation, said in documented.items()
        if said != (found := seen.statuses[operation])
    }
    assert wrong == {}
    compare({name: seen.bodies[name] for name in sorted(seen.bodies)}, examples.ERRORS)


def places(operation: Operation, **parts: str) -> str:
    """Return the path of an operation with these parts; the other parts lead to what does not exist."""
    known = {
        "owner": "acme", "repo": "widgets", "webhook": NOWHERE, "delivery": "1", "slug": "acme", "event": "x",
        "uid": NOWHERE, "key_id": "0" * 12, "name": "nowhere",
    }  # fmt: skip
    return operation.path.format(**{**known, **parts})


def without_access(seen: Seen, organization: Organization) -> None:
    """Call all operations without a key, and with keys that do not permit it."""
    now = timezone.now()
    elsewhere = ApiKey.issue(
        organization=organization, scope=Scope.MASTER, allowed_networks=["203.0.113.0/24"], now=now
    )
    keys = [Caller("hh_000000000000_" + "a" * 43), Caller(elsewhere[1])]
    keys.append(Caller.of(organization, Scope.PUBLISH))
    stranger = Client(raise_request_exception=False)
    for operation, said in seen.document.operations():
        media = FORM if operation.path.endswith("/hub") else JSON
        seen.add(operation, stranger.generic(operation.method, places(operation), b"", content_type=media))
        for caller in keys:
            body = {} if "requestBody" in said and media == JSON else None
            seen.add(operation, caller.send(operation.method, places(operation), body, content_type=media))


def kind_of(operation: Operation) -> str:
    """Return the second part of a path, which in `/v1` is the kind of object; an empty text if there is none."""
    if "/consumers" in operation.path:
        return "consumers"
    return [*operation.path.split("/"), ""][2]


def rows(caller: Caller) -> Rows:
    """Create a row of each kind whose operations read a body, and return the parts of the paths to them."""
    webhook = caller.post("/v1/webhooks", {"url": "http://127.0.0.1:9999/", "events": ["*"]}).json()["id"]
    polled = caller.post("/v1/webhooks", {"kind": "poll", "events": ["*"]}).json()["id"]
    channel = caller.post("/v1/alert-channels", {"type": "webhook", "url": "http://127.0.0.1:9999/"}).json()["id"]
    key = caller.post("/v1/api-keys", {"scope": "read"}).json()["id"]
    caller.post("/v1/event-types", {"type": "build.started"})
    return {
        "webhooks": {"uid": webhook}, "consumers": {"uid": polled, "name": "one"},
        "alert-channels": {"uid": channel}, "api-keys": {"key_id": key},
        "event-types": {"name": "build.started"}, "repositories": {"name": "widgets"},
    }  # fmt: skip


def with_invalid_requests(seen: Seen, caller: Caller, here: Rows, *, below: str = "") -> None:
    """Call the operations with what they cannot do: no such object, a malformed body, parameters that are none."""
    for operation, said in seen.document.operations():
        if not operation.path.startswith(below):
            continue
        for address, body, media, accept in invalid(operation, here, has_body="requestBody" in said):
            caller.accept = accept
            seen.add(operation, caller.send(operation.method, address, body, content_type=media))
    caller.accept = ""


def invalid(operation: Operation, here: Rows, *, has_body: bool) -> Iterator[tuple[str, object, str, str]]:
    """Yield the address, the body, its media type and the Accept header of each invalid request to an operation."""
    usual = FORM if operation.path.endswith("/hub") else JSON
    there, other = places(operation), places(operation, slug="other", owner="other", name="push")
    for address in (there, other, f"{there}?organization=other", f"{there}?organization=", f"{there}?x=%FF"):
        yield address, {} if has_body and usual == JSON else None, usual, ""
    yield places(operation, owner="no%00body", uid="not-an-id", key_id="%00", name="%00", slug="%00"), None, usual, ""
    if operation.method in {"POST", "PUT", "PATCH"}:
        # A body is read after the object that the path names was found.
        found = places(operation, **here.get(kind_of(operation), {}))
        for body in BROKEN:
            yield found, body, usual, ""
        for media in MEDIA:
            yield found, b'{"a": 1}', media, ""
        for body in SOUND:
            yield f"{there}?organization=other", body, usual, ""
    # A program that reads pictures only; those for which there is one format get it in any case.
    yield there, {} if has_body and usual == JSON else None, usual, "image/png"


def too_large(seen: Seen, caller: Caller) -> None:
    """Send the web server bodies that are longer than it reads."""
    operations = [operation for operation, said in seen.document.operations() if "413" in said["responses"]]
    requests = [
        Sent(caller.key, b"{}", {"Content-Length": "99999999"}, path=places(each), method=each.method)
        for each in operations
    ]
    answers, _ = serve(requests)
    for operation, answer in zip(operations, answers, strict=True):
        seen.add(operation, Answer(answer.status, {"Content-Type": answer.headers["content-type"]}, answer.content))


class Answer:
    """An answer of the web server's, as the test client has them."""

    def __init__(self, status_code: int, headers: dict[str, str], content: bytes) -> None:
        self.status_code, self.headers, self.content = status_code, headers, content


def without_a_database(seen: Seen, caller: Caller) -> None:
    """Call all operations while the database does not respond."""

    def away(*_: Any) -> Any:
        raise OperationalError(REFUSED)

    with connection.execute_wrapper(away):
        for operation, _ in seen.document.operations():
            authentication.invalidate_all()
            media = FORM if operation.path.endswith("/hub") else JSON
            body = b'{"type": "push", "data": 1}' if operation.method == "POST" and media == JSON else None
            seen.add(operation, caller.send(operation.method, places(operation), body, content_type=media))


def beyond_the_rate(seen: Seen, caller: Caller) -> None:
    """Call all operations from an address that has used up its requests."""
    caller.get("/v1/meta")
    for operation, _ in seen.document.operations():
        seen.add(operation, caller.send(operation.method, places(operation), None))


# Conflicts ------------------------------------------------------------------------------------------------------------


class Conflicts:
    """For each operation that may be in conflict with what is stored, a request that is."""

    def __init__(self, forge: Forge, settings: Settings, now: datetime) -> None:
        self.forge, self.settings, self.now = forge, settings, now
        self.caller = Caller.of(forge.organization)

    def provoke(self, seen: Seen) -> None:
        """Make all of these requests."""
        operator, post, patch = Caller.of(None), self.caller.post, self.caller.patch
        forge = self.forge
        Repository.objects.create(organization=forge.organization, name="taken")
        disabled = forge.webhook(now=self.now, path="/disabled")
        sending = forge.webhook(now=self.now, path="/sending", headers={"X-Old": "1"})
        lifecycle.disable(disabled.pk, now=self.now)
        post("/v1/event-types", {"type": "build.finished"})
        post("/v1/events", {"type": "push", "data": 1, "id": "once"})
        delivery = Delivery.objects.get(pk=post(f"/v1/webhooks/{sending.uid}/ping").json()["id"])
        answers: dict[str, Any] = {
            "POST /v1/organizations": operator.post("/v1/organizations", {"slug": "OTHER"}),
            "PATCH /v1/organizations/{slug}": operator.patch("/v1/organizations/acme", {"slug": "Other"}),
            "POST /v1/repositories": post("/v1/repositories", {"name": "TAKEN"}),
            "PATCH /v1/repositories/{name}": patch("/v1/repositories/widgets", {"name": "taken"}),
            "POST /v1/event-types": post("/v1/event-types", {"type": "build.finished"}),
            "PATCH /v1/event-types/{name}": patch("/v1/event-types/push", {"description": "x"}),
            "DELETE /v1/event-types/{name}": self.caller.delete("/v1/event-types/push"),
            "POST /v1/events": post("/v1/events", {"type": "push", "data": 2, "id": "once"}),
            "POST /v1/webhooks/{uid}/ping": post(f"/v1/webhooks/{disabled.uid}/ping"),
            "POST /v1/webhooks/{uid}/test": post(f"/v1/webhooks/{disabled.uid}/test", {}),
            "POST /v1/webhooks/{uid}/replay-missing": post(
                f"/v1/webhooks/{disabled.uid}/replay-missing", {"after": "2026-03-04T00:00:00Z"}
            ),
            "POST /v1/replays": [post("/v1/replays", {"type": "push"}) for _ in range(MAX_RUNNING + 1)][-1],
            "PUT /v1/webhooks/{uid}/consumers/{name}": self._one_consumer_more(),
            **self._about_a_delivery(delivery),
            **self._about_secrets(sending),
        }
        for label, answer in answers.items():
            method, path = label.split()
            assert answer.status_code == 409, (label, answer.content)
            seen.add(Operation(method, path), answer)

    def _one_consumer_more(self) -> Any:
        address = f"/v1/webhooks/{self.caller.post('/v1/webhooks', {'kind': 'poll', 'events': ['*']}).json()['id']}"
        body = {"cursor": self.caller.get(f"{address}/poll").json()["cursor"]}
        answers = [self.caller.send("PUT", f"{address}/consumers/{n}", body) for n in range(MAX_CONSUMERS + 1)]
        return answers[-1]

    def _about_a_delivery(self, delivery: Delivery) -> dict[str, Any]:
        Delivery.objects.filter(pk=delivery.pk).update(
            state=Delivery.State.DELIVERED, finish_reason=Delivery.FinishReason.DELIVERED, finished_at=self.now,
            due_at=None,
        )  # fmt: skip
        cancelled = self.caller.post(f"/v1/deliveries/{delivery.pk}/cancel")
        lifecycle.disable(delivery.webhook_id, now=self.now)
        return {
            "POST /v1/deliveries/{uid}/cancel": cancelled,
            "POST /v1/deliveries/{uid}/redeliver": self.caller.post(f"/v1/deliveries/{delivery.pk}/redeliver"),
        }

    def _about_secrets(self, webhook: Webhook) -> dict[str, Any]:
        keys = self.settings.HOOKHUB_ENCRYPTION_KEYS
        self.settings.HOOKHUB_ENCRYPTION_KEYS = (Fernet.generate_key().decode(),)
        address = f"/v1/webhooks/{webhook.uid}"
        answers = {
            "PATCH /v1/webhooks/{uid}": self.caller.patch(address, {"format": "github"}),
            "PATCH /v1/webhooks/{uid}/headers": self.caller.patch(f"{address}/headers", {"headers": {"X-New": "1"}}),
            "POST /v1/webhooks/{uid}/rotate-secret": self.caller.post(f"{address}/rotate-secret", {}),
        }
        self.settings.HOOKHUB_ENCRYPTION_KEYS = keys
        return answers


@pytest.fixture
def forge_of_conflicts(organization: Organization, widgets: Repository, receiver: Any, settings: Settings) -> Conflicts:
    return Conflicts(Forge(organization, widgets, receiver), settings, timezone.now())

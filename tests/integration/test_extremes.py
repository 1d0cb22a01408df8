"""No number and no time in a request to `/v1` is too extreme to be taken, or to be refused by its name."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.utils import timezone

from hookhub import replays
from hookhub.models import ApiKey, Scope
from tests.api import Caller, faults
from tests.documents import Document
from tests.story import Forge

pytestmark = pytest.mark.django_db

NUMBERS = ("0", "-1", "2147483648", "9223372036854775808", "1e400", "NaN", "1e-400", "1" * 5000)
TIMES = (
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59", "10000-01-01T00:00:00Z", "2030-01-01T00:00:00+24:00", "infinity",
)  # fmt: skip
# What a request needs besides the field that is tried.
NEEDED: dict[str, dict[str, object]] = {
    "POST /v1/events": {"type": "push", "data": {}},
    "POST /v1/events/validate": {"type": "push", "data": {}},
    "POST /v1/webhooks": {"url": "https://receiver.example/", "events": ["push"], "active": False},
    "POST /v1/webhooks/{uid}/replay-missing": {"after": "2026-01-01T00:00:00Z"},
    "POST /v1/replays": {"type": "push"},
    "POST /v1/api-keys": {"scope": "read"},
    "POST /v1/alert-channels": {"type": "webhook", "url": "https://receiver.example/"},
}
Place = tuple[str, ...]


def places_in(document: Document, node: Any, place: Place = ()) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Yield where a schema has a number or a time, and what to try there."""
    schema = document.resolved(node)
    for part in (*schema.get("allOf", ()), *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from places_in(document, part, place)
    types = {*([schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", ()))}
    if types & {"integer", "number"}:
        yield place, NUMBERS
    if schema.get("format") == "date-time":
        yield place, (*map(json.dumps, TIMES), "0", "1e400")
    if "array" in types and place:
        yield from places_in(document, schema["items"], (*place, "[]"))
    for name, inner in schema.get("properties", {}).items():
        if not document.resolved(inner).get("readOnly"):
            yield from places_in(document, inner, (*place, name))


def body_with(needed: dict[str, object], place: Place, value: str) -> bytes:
    node: Any = "\0"
    for name in reversed(place):
        node = [node] if name == "[]" else {name: node}
    return json.dumps({**needed, **node}).replace(json.dumps("\0"), value).encode()


def named_by(answer: Any) -> set[str]:
    """Return the fields that an error names, without what is within them."""
    return {name.partition(".")[0].partition("[")[0] for name in faults(answer)}


@pytest.fixture
def api(forge: Forge) -> Caller:
    return Caller.of(forge.organization)


@pytest.fixture
def addresses(forge: Forge, api: Caller) -> dict[str, str]:
    """Return what stands for the parameter of each kind of path."""
    now = timezone.now()
    webhook = forge.webhook(now=now)
    replay = replays.start_missing(webhook, after=now - timedelta(days=1), before=now, now=now)
    return {
        "webhooks": str(webhook.uid),
        "polled": api.post("/v1/webhooks", {"kind": "poll", "events": ["*"]}).json()["id"],
        "alert-channels": api.post("/v1/alert-channels", NEEDED["POST /v1/alert-channels"]).json()["id"],
        "replays": str(replay.pk),
        "organizations": forge.organization.slug,
        "api-keys": ApiKey.issue(organization=forge.organization, scope=Scope.READ, now=now)[0].key_id,
    }


def requests_of(document: Document, addresses: dict[str, str]) -> Iterator[tuple[str, str, bytes | None, str]]:
    """Yield each request as method, address and body, and the field or parameter that it tries."""
    for operation, said in document.operations():
        # What a new organization may have, a PATCH may change.
        if not operation.path.startswith("/v1/") or operation == ("POST", "/v1/organizations"):
            continue
        kind = "polled" if operation.path.endswith("/poll") else operation.path.split("/")[2]
        path = operation.path
        for parameter in ("{uid}", "{slug}", "{key_id}"):
            path = path.replace(parameter, addresses.get(kind, ""))
        for parameter in map(document.resolved, said.get("parameters", ())):
            for _, values in places_in(document, parameter["schema"]) if parameter["in"] == "query" else ():
                for value in values:
                    query = f"{parameter['name']}={quote(value.strip(chr(34)))}"
                    needs = "missing" in path and parameter["name"] != "after"
                    address = f"{path}?{'after=2026-01-01T00:00:00Z&' if needs else ''}{query}"
                    yield operation.method, address, None, parameter["name"]
        body = document.resolved(said.get("requestBody", {})).get("content", {}).get("application/json")
        places = () if body is None else dict(places_in(document, body["schema"])).items()
        for place, values in places:
            for value in values:
                needed = NEEDED.get(f"{operation.method} {operation.path}", {})
                yield operation.method, path, body_with(needed, place, value), place[0]


def test_each_is_taken_or_refused_by_its_name(
    forge: Forge, api: Caller, operator: Caller, addresses: dict[str, str]
) -> None:
    tried, wrong = set(), []

    for method, address, body, name in requests_of(Document(), addresses):
        caller = operator if address.startswith("/v1/organizations") else api
        answer = caller.send(method, address, body)
        tried.add((method, address.partition("?")[0], name))
        told = f"{method} {address} {(body or b'')[:200]!r}: {answer.status_code} {answer.content[:300]!r}"
        # JSON has no NaN: 400.
        if answer.status_code not in {200, 201, 202, 400, 422}:
            wrong.append(told)
        elif answer.status_code == 422 and named_by(answer) != {name} and "timeseries" not in address:
            # Of a time series, the period as a whole may be refused.
            wrong.append(told)

    assert wrong == []
    assert len(tried) > 50

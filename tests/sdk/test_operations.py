"""Every operation of the API has a method in every SDK, with the method and the path that the API has."""

import asyncio
import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hookhub_client import AsyncClient, Client, Event

from tests.fake_hookhub import Answer, Asked, FakeHookHub, fake_hookhub
from tests.partners import node
from tests.sdk import document, tools
from tests.sdk.names import camel
from tests.sdk.operations import OPERATIONS

# The synchronous client has a method of its own for this.
IN_PYTHON = {"replays.create": "replay"}
# What Python's methods get for their required arguments; for all others it is a text.
GIVEN: dict[str, Any] = {"after": datetime(2026, 3, 4, tzinfo=UTC), "changes": {}, "headers": {}, "events": []}
ANSWER = Answer(200, {"id": "ID", "results": [], "consumers": []})
# The methods of a client and of its resources, and which requests they send when they get words for all arguments.
METHODS = """
import { HookHub } from "./dist/index.js";
const asked = [];
const hookhub = new HookHub({
  url: "http://hooks.example", apiKey: "hh_1", retries: 0,
  fetch: async (url, { method }) => { asked.push(`${method} ${new URL(url).pathname}`); throw new TypeError("none"); },
});
const found = {};
for (const [name, part] of [["", hookhub], ...Object.entries(hookhub)]) {
  for (const method of Object.getOwnPropertyNames(Object.getPrototypeOf(part))) {
    if (["constructor", "wait", "publishBatch"].includes(method)) continue;
    const others = { validate: [[]], list: [], commit: ["ID", "ID", "a"], deleteConsumer: ["ID", "ID"] };
    const given = others[method] ?? ["ID", {}];
    const done = part[method](...given);
    await (done.next ? done.next() : done).catch(() => undefined);
    found[name ? `${name}.${method}` : method] = asked.at(-1);
  }
}
console.log(JSON.stringify(found));
"""


def path_of(operation: str) -> str:
    return re.sub(r"\{\w+\}", "ID", operation)


def test_every_operation_is_known() -> None:
    found = {f"{method} {path}" for method, path, _ in document.operations(document.load())}

    assert found == OPERATIONS.keys(), "Add the operation to every SDK, and to tests/sdk/operations.py"


def test_an_event_has_every_field_of_the_api_in_every_language() -> None:
    known = set(document.load()["components"]["schemas"]["NewEvent"]["properties"])
    [go] = re.findall(r"type NewEvent struct \{(.*?)\n\}", (tools.GO / "publish.go").read_text(), re.DOTALL)
    [typescript] = re.findall(
        r"interface NewEvent \{(.*?)\n\}", (tools.TYPESCRIPT / "src/types.ts").read_text(), re.DOTALL
    )

    assert {field.name for field in dataclasses.fields(Event)} == known
    assert set(re.findall(r'json:"(\w+)', go)) == known
    assert set(re.findall(r"^ +(\w+)\??:", typescript, re.MULTILINE)) == known


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeHookHub]:
    def answered(asked: Asked) -> Answer:
        return running.accept(asked) if (asked.method, asked.path) == ("POST", "/v1/events") else ANSWER

    with fake_hookhub() as running:
        running.otherwise = answered
        yield running


@pytest.fixture(scope="module")
def asked(fake: FakeHookHub) -> dict[str, list[str]]:
    """Return the request that each method of the Python clients sends, the ordinary and the asynchronous one.

    One client of each kind calls them all, because to read the certificates takes longer than many calls.
    """
    found = {}
    with Client(fake.url, "hh_1", retries=0) as client:
        for name in OPERATIONS.values():
            result = called(client, name)
            if inspect.isgenerator(result):
                assert list(result) == []
            found[name] = [last(fake)]
    asyncio.run(asynchronously(fake, found))
    return found


@pytest.mark.parametrize(("operation", "name"), OPERATIONS.items(), ids=OPERATIONS.values())
def test_python_has_it_at_the_same_path(asked: dict[str, list[str]], operation: str, name: str) -> None:
    assert asked[name] == [path_of(operation)] * 2


async def asynchronously(fake: FakeHookHub, found: dict[str, list[str]]) -> None:
    async with AsyncClient(fake.url, "hh_1", retries=0) as client:
        for name in OPERATIONS.values():
            result = called(client, name)
            if inspect.isasyncgen(result):
                assert [row async for row in result] == []
            else:
                await result
            found[name].append(last(fake))


def last(fake: FakeHookHub) -> str:
    """Return the method and the path of the last request."""
    return f"{fake.asked[-1].method} {fake.asked[-1].path.partition('?')[0]}"


def called(client: Client | AsyncClient, name: str) -> Any:
    """Call a method with a value for each argument that it requires."""
    resource, _, method = IN_PYTHON.get(name, name).rpartition(".")
    function = getattr(getattr(client, resource) if resource else client, method)
    required = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is inspect.Parameter.empty
    ]
    given = {parameter.name: GIVEN.get(parameter.name, "ID") for parameter in required}
    return function(**given, **({"webhook": "ID"} if name == "replays.create" else {}))


def test_typescript_has_them_at_the_same_paths() -> None:
    done = tools.run(node.node(), "--input-type=module", "-e", METHODS, cwd=tools.typescript())

    assert json.loads(done) == {in_typescript(name): path_of(operation) for operation, name in OPERATIONS.items()}


def test_go_has_them() -> None:
    documented = tools.run(tools.go(), "doc", "-all", ".", cwd=tools.GO, **tools.GO_ENVIRONMENT)
    found = {
        f"{resource}.{method}"
        for resource, method in re.findall(r"^func \(\w+ \*?(\w+)\) (\w+)\(ctx", documented, re.MULTILINE)
    }

    assert found >= {in_go(name) for name in OPERATIONS.values()}


def in_typescript(name: str) -> str:
    return re.sub(r"_(\w)", lambda letter: letter[1].upper(), name)


def in_go(name: str) -> str:
    resource, _, method = name.rpartition(".")
    return f"{camel(resource) or 'Client'}.{camel(method)}"

"""Makes sdk/openapi.json: the native part of the OpenAPI document, from which the SDKs' types are generated."""

import json
from collections.abc import Iterator
from typing import Any

from hookhub.procfile import ROOT

PATH = ROOT / "sdk" / "openapi.json"
PREFIX = "/v1/"
# Documents for tools, which need no method.
NOT_IN_SDKS = {"/v1/asyncapi.json", "/v1/schemas.json", "/v1/event-types/{name}/schema"}
METHODS = ("get", "post", "put", "patch", "delete")


def write() -> None:
    """Write the document."""
    PATH.write_text(text())


def text() -> str:
    """Return the document as it is written; Django must be set up."""
    from hookhub.api.meta import document

    return json.dumps(native(json.loads(document())), indent=1, ensure_ascii=False) + "\n"


def load() -> Any:
    """Return the document as the file has it."""
    return json.loads(PATH.read_text())


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the method, the path and the description of each operation."""
    for path, methods in sorted(document["paths"].items()):
        for method in METHODS:
            if method in methods:
                yield method.upper(), path, methods[method]


def native(document: Any) -> Any:
    """Return a document with the operations below /v1/ only, and with the schemas that they need."""
    paths = {
        path: {name: _successful(said) for name, said in methods.items()}
        for path, methods in document["paths"].items()
        if path.startswith(PREFIX) and path not in NOT_IN_SDKS
    }
    schemas = document["components"]["schemas"]
    needed = needed_by(paths, schemas)
    return {
        "openapi": document["openapi"],
        "info": {"title": document["info"]["title"], "version": document["info"]["version"]},
        "paths": _without_examples(paths),
        "components": {"schemas": _without_examples({name: schemas[name] for name in sorted(needed)})},
    }


def needed_by(node: Any, schemas: Any) -> set[str]:
    """Return the names of the schemas that a part of a document refers to, directly or through others."""
    needed: set[str] = set()
    waiting = list(_references(node))
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += _references(schemas[name])
    return needed


def _successful(said: Any) -> Any:
    """Return an operation without its errors, which every SDK knows, and without the parameters that every SDK sets."""
    if not isinstance(said, dict):
        return said
    kept = {name: value for name, value in said.items() if name not in {"responses", "parameters", "security"}}
    kept["responses"] = {status: what for status, what in said["responses"].items() if status.startswith("2")}
    set_by_itself = {("query", "organization")}
    kept["parameters"] = [
        one
        for one in said.get("parameters", [])
        if one["in"] != "header" and (one["in"], one["name"]) not in set_by_itself
    ]
    return kept


def _references(node: Any) -> Iterator[str]:
    """Yield the names of the schemas that are referred to."""
    if isinstance(node, list):
        for inner in node:
            yield from _references(inner)
    elif isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/components/schemas/"):
            yield reference.rpartition("/")[2]
        for inner in node.values():
            yield from _references(inner)


def _without_examples(node: Any, *, is_properties: bool = False) -> Any:
    """Return a part of the document without examples, which change no type; a property may have such a name."""
    if isinstance(node, list):
        return [_without_examples(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _without_examples(inner, is_properties=name == "properties")
        for name, inner in node.items()
        if is_properties or name not in {"example", "examples"}
    }

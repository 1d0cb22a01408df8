"""Checks responses against the OpenAPI document that HookHub serves."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from django.test import Client

METHODS = ("get", "post", "put", "patch", "delete")


class Operation(NamedTuple):
    """A method of a path of the document."""

    method: str
    path: str


class Document:
    """The document as the server publishes it."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = Client().get("/v1/openapi.json").json()
        self._validators: dict[tuple[Operation, int], Any] = {}
        schemas = self.content["components"]["schemas"].items()
        self._components = {"schemas": {name: closed(schema) for name, schema in schemas}}

    def operations(self) -> Iterator[tuple[Operation, dict[str, Any]]]:
        """Yield every operation, with its description in the document."""
        for path, methods in self.content["paths"].items():
            for method in METHODS:
                if method in methods:
                    yield Operation(method.upper(), path), methods[method]

    def errors_in(self, value: Any, schema: dict[str, Any]) -> list[str]:
        """Return how a value differs from a schema of the document."""
        errors = validator_of({**schema, "components": self._components}).iter_errors(value)
        return [f"{error.json_path}: {error.message[:300]}" for error in errors]

    def resolved(self, node: Any) -> Any:
        """Return what a reference refers to; anything else as it is."""
        while isinstance(node, dict) and "$ref" in node:
            _, _, kind, name = node["$ref"].split("/")
            node = self.content["components"][kind][name]
        return node

    def showing_secrets(self) -> set[Operation]:
        """Return the operations whose response has a field for a secret or for the text of a key."""
        return {
            operation
            for operation, said in self.operations()
            if any(_has_secret(self.resolved(response), self.content) for response in said["responses"].values())
        }

    def faults(self, operation: Operation, answer: Any) -> list[str]:
        """Return the differences between a response and the document; empty if there are none."""
        said = self.content["paths"][operation.path][operation.method.lower()]["responses"]
        where = f"{operation.method} {operation.path}: {answer.status_code}"
        response = self.resolved(said.get(str(answer.status_code)))
        if response is None:
            return [f"{where} is not documented: {answer.content[:300]!r}"]
        if "content" not in response:
            return [f"{where} has a body: {answer.content[:300]!r}"] if answer.content else []
        media_type = answer.headers["Content-Type"].partition(";")[0]
        if media_type not in response["content"]:
            return [f"{where} is {media_type}"]
        if media_type == "text/plain":
            return []
        if (operation, answer.status_code) not in self._validators:
            schema = {**response["content"][media_type]["schema"], "components": self._components}
            self._validators[operation, answer.status_code] = validator_of(schema)
        body = b"".join(answer.streaming_content) if getattr(answer, "streaming", False) else answer.content
        errors = self._validators[operation, answer.status_code].iter_errors(read(body))
        return [f"{where}: {error.json_path}: {error.message[:300]}" for error in errors]


def validator_of(schema: dict[str, Any]) -> Any:
    """Return the validator of a schema."""
    # Importing it takes longer than most tests, so only processes that validate do.
    from openapi_schema_validator import OAS31Validator, oas31_format_checker

    return OAS31Validator(schema, format_checker=oas31_format_checker)


def read(body: bytes) -> Any:
    """Return the JSON value of a response body."""
    return json.loads(body)


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that allows only the properties it names."""
    found = deepcopy(schema)
    if "properties" in found and "additionalProperties" not in found:
        found["additionalProperties"] = False
    return found


def _has_secret(node: Any, content: dict[str, Any]) -> bool:
    """Return whether a schema, or one that it refers to, has such a field."""
    if isinstance(node, list):
        return any(_has_secret(inner, content) for inner in node)
    if not isinstance(node, dict):
        return False
    if "$ref" in node:
        return _has_secret(content["components"]["schemas"][node["$ref"].rpartition("/")[2]], content)
    properties = node.get("properties")
    if isinstance(properties, dict) and properties.keys() & {"secret", "key"}:
        return True
    return any(_has_secret(inner, content) for inner in node.values())

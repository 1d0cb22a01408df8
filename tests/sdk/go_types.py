"""Makes sdk/go/types.go: the objects and the filters of the API as Go's structs, from sdk/openapi.json.

No generator at hand is used: what oapi-codegen makes needs its own run-time package and twice as many lines, in which
most fields of a response are pointers (docs/decisions/0041-sdks.md).
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hookhub.procfile import ROOT
from tests.sdk import document
from tests.sdk.names import BY_HAND, camel, go_name

PATH = ROOT / "sdk" / "go" / "types.go"
OPENING = """// Code generated from ../openapi.json by `make sdk`; DO NOT EDIT.

package hookhub

import (
\t"encoding/json"
\t"net/url"
\t"time"
)
"""
SCALARS = {"string": "string", "integer": "int", "number": "float64", "boolean": "bool"}


class Kind(NamedTuple):
    """A Go type, and whether null is a value of it."""

    name: str
    nullable: bool


class Writer:
    """Writes the types of a document."""

    def __init__(self, described: Any) -> None:
        self.schemas: Mapping[str, Any] = described["components"]["schemas"]
        self.operations = list(document.operations(described))
        bodies = [operation.get("requestBody") for _, _, operation in self.operations]
        self.requests = document.needed_by(bodies, self.schemas)
        self.parts: list[str] = [OPENING]

    def write(self) -> str:
        """Return the file, not yet formatted by gofmt."""
        for name, schema in self.schemas.items():
            if BY_HAND.match(name) or not self._is_used(name):
                continue
            if "enum" in schema:
                self._enum(name, schema)
            else:
                self._struct(go_name(name), schema, is_request=name in self.requests, source=name)
        # Reading one event type takes what listing them takes.
        filters = {
            filter_name(operation["operationId"]): parameters
            for _, _, operation in self.operations
            if (parameters := query_of(operation))
        }
        for name, parameters in filters.items():
            self._filter(name, parameters)
        return "\n".join(self.parts)

    def _is_used(self, name: str) -> bool:
        # An enumeration of integers is an integer.
        return bool(self.schemas[name].get("type") != "integer" and self.schemas[name].get("type") != "array")

    def _enum(self, name: str, schema: Any) -> None:
        go = go_name(name)
        self.parts.append(f"// {go} is a string of the API; a newer HookHub may have more of them.\ntype {go} string\n")
        values = [value for value in schema["enum"] if value]
        named = "\n".join(f'\t{go}{camel(value)} {go} = "{value}"' for value in values)
        self.parts.append(f"const (\n{named}\n)\n")

    def _struct(self, go: str, schema: Any, *, is_request: bool, source: str = "") -> None:
        properties = schema.get("properties", {})
        required = set(schema.get("required", ()))
        base = None if is_request else self._base_of(source, properties)
        lines = [go_name(base)] if base else []
        for name, described in properties.items():
            if base and name in self.schemas[base]["properties"]:
                continue
            kind = self._kind(described, within=go + camel(name), is_request=is_request)
            lines += comment(described.get("description") or "", indent="\t")
            lines.append(
                f"{camel(name)} {self._field(kind, name, is_request=is_request, is_required=name in required, go=go)}"
            )
        opening = comment(schema.get("description") or "", indent="", name=go)
        self.parts.append("\n".join([*opening, f"type {go} struct {{", *lines, "}\n"]))

    def _field(self, kind: Kind, name: str, *, is_request: bool, is_required: bool, go: str) -> str:
        is_open = kind.name.startswith(("[]", "map[")) or kind.name in {"any", "json.RawMessage"}
        if not is_request:
            pointer = "*" if kind.nullable and not is_open else ""
            return f'{pointer}{kind.name} `json:"{name}"`'
        if is_required:
            return f'{kind.name} `json:"{name}"`'
        # An empty secret means none. No other text may be empty, or an empty one says no more than none.
        is_plain = kind.name in {"string", "time.Time"} or kind.name in map(go_name, self.schemas)
        if not go.endswith("Changes") and is_plain and name != "secret":
            return f'{kind.name} `json:"{name},omitzero"`'
        if go.endswith("Changes") or not is_open:
            return f'Optional[{kind.name}] `json:"{name},omitzero"`'
        return f'{kind.name} `json:"{name},omitzero"`'

    def _base_of(self, name: str, properties: Mapping[str, Any]) -> str | None:
        """Return the schema of which all properties are among these, so that it can be embedded."""
        found = [
            other
            for other, schema in self.schemas.items()
            if other != name
            and other not in self.requests
            and len(schema.get("properties", {})) >= 5
            and schema["properties"].items() <= properties.items()
        ]
        return max(found, key=lambda other: len(self.schemas[other]["properties"]), default=None)

    def _kind(self, schema: Any, *, within: str, is_request: bool) -> Kind:
        types = schema.get("type")
        nullable = bool(schema.get("nullable")) or (isinstance(types, list) and "null" in types)
        choices = schema.get("allOf") or schema.get("anyOf") or schema.get("oneOf") or []
        others = [one for one in choices if one.get("type") != "null"]
        if len(others) == 1:
            inner = self._kind(others[0], within=within, is_request=is_request)
            return Kind(inner.name, nullable or inner.nullable or len(others) < len(choices))
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if not self._is_used(name):
                return self._kind(self.schemas[name], within=within, is_request=is_request)
            return Kind(go_name(name), nullable)
        kind = next((one for one in types if one != "null"), None) if isinstance(types, list) else types
        if kind == "array":
            inner = self._kind(schema["items"], within=within, is_request=is_request)
            return Kind(f"[]{inner.name}", nullable)
        if kind == "object":
            return Kind(self._object(schema, within=within, is_request=is_request), nullable)
        if schema.get("format") == "date-time":
            return Kind("time.Time", nullable)
        return Kind(SCALARS.get(kind or "", "any" if is_request else "json.RawMessage"), nullable)

    def _object(self, schema: Any, *, within: str, is_request: bool) -> str:
        if schema.get("properties"):
            self._struct(within, schema, is_request=is_request)
            return within
        values = schema.get("additionalProperties")
        if not isinstance(values, dict) or not values:
            return "map[string]any"
        inner = self._kind(values, within=within, is_request=is_request)
        return f"map[string]{'*' if inner.nullable else ''}{inner.name}"

    def _filter(self, go: str, parameters: Sequence[Any]) -> None:
        """Write the parameters of a query."""
        lines, writes = [], []
        for one in parameters:
            kind = self._kind(one["schema"], within=go + camel(one["name"]), is_request=True)
            lines += comment(one.get("description") or "", indent="\t")
            lines.append(f"{camel(one['name'])} {'*bool' if kind.name == 'bool' else kind.name}")
            writes.append(f'\taddTo(values, "{one["name"]}", f.{camel(one["name"])})')
        opening = [f"// {go} is the query of a request; zero values are left out.", f"type {go} struct {{"]
        self.parts.append("\n".join([*opening, *lines, "}\n"]))
        opening = [f"func (f {go}) values() url.Values {{", "\tvalues := url.Values{}"]
        self.parts.append("\n".join([*opening, *writes, "\treturn values", "}\n"]))


def query_of(operation: Any) -> list[Any]:
    """Return the parameters of an operation's query, but for the cursor, which the SDK keeps."""
    parameters = operation.get("parameters", [])
    return [one for one in parameters if one["in"] == "query" and not is_kept(operation, one["name"])]


def is_kept(operation: Any, name: str) -> bool:
    """Return whether the SDK keeps a parameter to itself: the cursor of a list, which it follows."""
    return name == "cursor" and bool(operation["operationId"].endswith("_list"))


def text() -> str:
    """Return the file, not yet formatted by gofmt."""
    return Writer(document.load()).write()


def filter_name(operation: str) -> str:
    """Return the name of an operation's filter: ``DeliveriesFilter`` of ``deliveries_list``."""
    return camel(re.sub(r"_(list|retrieve|create)$", "", operation)) + "Filter"


def comment(description: str, *, indent: str, name: str = "") -> list[str]:
    """Return a description as a comment, without the lists of values that are constants."""
    said = " ".join(line for line in description.splitlines() if not line.startswith("* `")).strip()
    # gofmt would make typographic quotes of double ones.
    said = said.replace("``", "`")
    if not said and not name:
        return []
    opening = f"{name}: {said}" if name and said else said or f"{name} is an object of the API."
    return [f"{indent}// {line}" for line in textwrap.wrap(opening, 110)]

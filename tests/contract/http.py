"""The HTTP APIs: addresses, operations, parameters and fields, as in the OpenAPI document and the router."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator

METHODS = ("get", "post", "put", "patch", "delete")
LIMITS = (
    "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern", "minItems",
    "maxItems", "uniqueItems",
)  # fmt: skip
FLAGS = ("nullable", "readOnly", "writeOnly", "deprecated")


def operations() -> Iterator[str]:
    """Yield a line for each operation, parameter, request body and response, then one for each field of a schema."""
    document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    for path, methods in sorted(document["paths"].items()):
        for method in METHODS:
            if method in methods:
                yield from _operation(f"{method.upper()} {path}", methods[method])
    for name, response in sorted(document["components"]["responses"].items()):
        yield from _response(f"response {name}", response)
    for name, methods in sorted(document["webhooks"].items()):
        for method, operation in methods.items():
            yield from _operation(f"webhook {name} {method.upper()}", operation)
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _fields(name, schema)
    for name, scheme in sorted(document["components"].get("securitySchemes", {}).items()):
        yield f"security {name} {_plain(scheme)}"


def addresses() -> Iterator[str]:
    """Yield a line for each route: its path, the name by which it can be reversed, and its methods."""
    found = set()
    for route, pattern in _routes(get_resolver(), ""):
        view = getattr(pattern.callback, "view_class", None) or getattr(pattern.callback, "cls", None)
        words = [f"/{route}"]
        if pattern.name:
            words.append(f"name={pattern.name}")
        # The methods of Django's and the framework's own views are not part of the contract.
        if view is not None and view.__module__.split(".")[0] not in {"django", "rest_framework", "drf_spectacular"}:
            words += sorted(
                name.upper() for name in view.http_method_names if hasattr(view, name) and name != "options"
            )
        found.add(" ".join(words))
    yield from sorted(found)


def _routes(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, URLPattern]]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern, route)
        else:
            yield route, pattern


def _operation(called: str, operation: Mapping[str, Any]) -> Iterator[str]:
    secured = " or ".join("+".join(sorted(way)) or "nothing" for way in operation.get("security", []))
    yield f"{called} operation={operation['operationId']} tags={','.join(operation.get('tags', []))} key={secured}"
    for parameter in sorted(operation.get("parameters", []), key=lambda each: (each["in"], each["name"])):
        mark = {"query": "?", "path": "/", "header": "header "}[parameter["in"]]
        kind = _kind(parameter["schema"]) + (" required" if parameter.get("required") else "")
        style = "" if parameter.get("explode") is None else f" explode={parameter['explode']}"
        yield f"{called} {mark}{parameter['name']} {kind}{style}"
    if body := operation.get("requestBody"):
        for media, content in sorted(body["content"].items()):
            required = " required" if body.get("required") else ""
            yield from _content(f"{called} body {media}", content["schema"], required)
    # Most operations can fail in the same ways, which are described once.
    shared = [_kind(response) for response in operation["responses"].values() if "$ref" in response]
    for status, response in sorted(operation["responses"].items()):
        if "$ref" not in response:
            yield from _response(f"{called} {status}", response)
    if shared:
        yield f"{called} may answer {', '.join(sorted(shared))}"


def _response(where: str, response: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each header of a response, and for its content in each media type."""
    for name, header in sorted(response.get("headers", {}).items()):
        yield f"{where} header {name} {_kind(header['schema'])}"
    contents = sorted(response.get("content", {}).items())
    for media, content in contents:
        yield from _content(f"{where} {media}", content["schema"], "")
    if not contents:
        yield f"{where} nothing"


def _content(where: str, schema: Mapping[str, Any], end: str) -> Iterator[str]:
    """Yield a line for content with a named schema, or one for each of its fields."""
    if "properties" in schema:
        yield from _fields(where, schema, separator=" ")
    else:
        yield f"{where} {_kind(schema)}{end}"


def _fields(where: str, schema: Mapping[str, Any], *, separator: str = ".") -> Iterator[str]:
    """Yield a line for each field of a schema, those of inline objects under their path."""
    if "properties" not in schema:
        yield f"{where} {_kind(schema)}"
        return
    if "additionalProperties" in schema:
        yield f"{where} additionalProperties {_kind(schema['additionalProperties'])}"
    for name, field in schema["properties"].items():
        required = " required" if name in schema.get("required", ()) else ""
        yield f"{where}{separator}{name} {_kind(field)}{required}"
        inner, path = field, f"{where}{separator}{name}"
        while inner.get("type") == "array":
            inner, path = inner["items"], f"{path}[]"
        if "properties" in inner:
            yield from _fields(path, inner)


def _kind(schema: Any) -> str:
    """Return a schema's type in a few words."""
    if not isinstance(schema, Mapping):
        return str(schema)
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for joint, mark in (("oneOf", "|"), ("anyOf", "|"), ("allOf", "&")):
        if joint in schema:
            return mark.join(_kind(each) for each in schema[joint]) + _extras(schema)
    if "enum" in schema:
        return f"enum({'|'.join('null' if each is None else str(each) for each in schema['enum'])})" + _extras(schema)
    if schema.get("type") in ("array", ["array", "null"]):
        return f"[{_kind(schema['items'])}]" + _extras(schema)
    if schema.get("type") == "object" and "properties" not in schema and "additionalProperties" in schema:
        return f"{{{_kind(schema['additionalProperties'])}}}" + _extras(schema)
    said = schema.get("type", "const" if "const" in schema else "any")
    kind = "|".join(said) if isinstance(said, list) else str(said)
    return kind + (f":{schema['format']}" if "format" in schema else "") + _extras(schema)


def _extras(schema: Mapping[str, Any]) -> str:
    limits = [f" {name}={schema[name]}" for name in LIMITS if name in schema]
    default = [f" default={schema['default']!r}"] if "default" in schema else []
    return "".join([*limits, *default, *(f" {name}" for name in FLAGS if schema.get(name))])


def _plain(scheme: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(scheme.items()) if name != "description")

"""The layout of the OpenAPI document: native operations before those of other systems, and errors described once."""

from typing import Any

from hookhub.descriptions.corrections import Document, rewritten
from hookhub.http.openapi import SHARED

METHODS = ("get", "post", "put", "patch", "delete")


def sort_operations(result: Document, **_: Any) -> Document:
    """Put the paths into the order of the tags: native operations come first, and those of other systems after them."""
    ranks = {tag["name"]: rank for rank, tag in enumerate(result["tags"])}

    def rank(path: str) -> tuple[int, bool, str]:
        operations = result["paths"][path]
        tags = [tag for each in operations.values() for tag in each["tags"]]
        # The addresses that GitHub Enterprise gives the same operations follow GitHub's own.
        return min(ranks[tag] for tag in tags), path.startswith("/api/v3/"), path

    ordered = {path: result["paths"][path] for path in sorted(result["paths"], key=rank)}
    for path, operations in ordered.items():
        ordered[path] = {method: operations[method] for method in METHODS if method in operations}
    return {**result, "paths": ordered}


def share_responses(result: Document, **_: Any) -> Document:
    """Make components of the errors that are the same for many operations."""
    shared: dict[str, Any] = {}

    def change(node: dict[str, Any]) -> dict[str, Any]:
        if SHARED not in node:
            return node
        response = {name: value for name, value in node.items() if name != SHARED}
        name = node[SHARED]
        if shared.setdefault(name, response) != response:
            raise ValueError(f"Two different responses have the name {name}.")
        return {"$ref": f"#/components/responses/{name}"}

    paths = rewritten(result["paths"], change)
    components = {**result["components"], "responses": dict(sorted(shared.items()))}
    return {**result, "paths": paths, "components": components}

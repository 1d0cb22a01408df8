"""How the OpenAPI document describes `POST /mcp`."""

from typing import Any

from hookhub.http.openapi import DescribedSchema

# OpenAPI 3.0 has no way to say that null is allowed beside two types.
ID: dict[str, Any] = {"description": "The id of the call: a string or an integer; null if it could not be read."}
CALL = {
    "type": "object",
    "description": "A call of JSON-RPC 2.0; without an id, a notification.",
    "properties": {
        "jsonrpc": {"type": "string", "enum": ["2.0"]},
        "id": {"oneOf": [{"type": "string", "maxLength": 200}, {"type": "integer"}]},
        "method": {"type": "string", "minLength": 1, "maxLength": 200, "example": "events/list"},
        "params": {"type": "object", "additionalProperties": True},
    },
    "required": ["jsonrpc", "method"],
    "example": {"jsonrpc": "2.0", "id": 1, "method": "events/list", "params": {}},
}
DETAIL = {
    "type": "object",
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "data": {"type": "object"}},
    "required": ["code", "message"],
}
RESULT = {
    "type": "object",
    "description": "The result of the call, or an error of MCP's.",
    "properties": {
        "jsonrpc": {"type": "string", "enum": ["2.0"]},
        "id": ID,
        "result": {"type": "object", "additionalProperties": True},
        "error": DETAIL,
    },
    "required": ["jsonrpc", "id"],
}
ERROR = {
    "type": "object",
    "properties": {"jsonrpc": {"type": "string", "enum": ["2.0"]}, "id": ID, "error": DETAIL},
    "required": ["jsonrpc", "id", "error"],
}


class McpSchema(DescribedSchema):
    """Describes errors as JSON-RPC has them; what is answered before the view runs has HookHub's error format."""

    never = frozenset({406, 409})
    # Answered by the server, before the view runs or after it has failed.
    early = frozenset({"408", "411", "413", "500"})

    def get_tags(self) -> list[str]:
        """Return the name of the group of operations."""
        return ["MCP"]

    def get_operation_id(self) -> str:
        """Return the id of the only operation."""
        return "mcp_call"

    def _get_request_body(self, direction: str = "request") -> dict[str, Any] | None:
        body = super()._get_request_body(direction)
        return body and {**body, "required": True}

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        for status, response in bodies.items():
            if int(status) >= 400 and status not in self.early:
                response["content"] = {"application/json": {"schema": ERROR}}
        return bodies

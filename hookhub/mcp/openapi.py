"""How the OpenAPI document describes `POST /mcp`."""

from typing import Any

from hookhub.http.openapi import EARLY, JSON, DescribedSchema

ID: dict[str, Any] = {
    "oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}],
    "description": "The id of the call; null if it could not be read.",
}
CALL = {
    "type": "object",
    "description": "A call of JSON-RPC 2.0; without an id, a notification.",
    "properties": {
        "jsonrpc": {"type": "string", "enum": ["2.0"]},
        "id": {"oneOf": [{"type": "string", "maxLength": 200}, {"type": "integer"}]},
        "method": {"type": "string", "minLength": 1, "maxLength": 200},
        "params": {"type": "object", "additionalProperties": True},
    },
    "required": ["jsonrpc", "method"],
}
DETAIL = {
    "type": "object",
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "data": {"type": "object"}},
    "required": ["code", "message"],
}
DETAIL_REFERENCE = {"$ref": "#/components/schemas/McpErrorDetail"}
RESULT = {
    "type": "object",
    "description": "The result of the call, or an error of MCP's.",
    "properties": {
        "jsonrpc": {"type": "string", "enum": ["2.0"]},
        "id": ID,
        "result": {"type": "object", "additionalProperties": True},
        "error": DETAIL_REFERENCE,
    },
    "required": ["jsonrpc", "id"],
}
ERROR = {
    "type": "object",
    "properties": {
        "jsonrpc": {"type": "string", "enum": ["2.0"]},
        "id": ID,
        "error": DETAIL_REFERENCE,
    },
    "required": ["jsonrpc", "id", "error"],
}


class McpSchema(DescribedSchema):
    """Describes errors as JSON-RPC has them; what the web server answers by itself has HookHub's error format."""

    error_prefix = "Mcp"
    never = frozenset({406, 409})

    def get_tags(self) -> list[str]:
        """Return the name of the group of operations."""
        return ["MCP"]

    def get_operation_id(self) -> str:
        """Return the id of the only operation."""
        return "mcp_call"

    def may_find_nothing(self) -> bool:
        """Return True: the call may name a method, an event or a subscription that does not exist."""
        return True

    def error_schema(self, status: int) -> dict[str, Any]:
        """Return the schema of an error's body."""
        self.component_of("McpErrorDetail", DETAIL)
        return super().error_schema(status) if status in EARLY else self.component_of("McpError", ERROR)

    def _get_request_body(self, direction: str = "request") -> dict[str, Any] | None:  # noqa: ARG002 - the framework's
        content = {JSON: {"schema": self.component_of("McpCall", CALL)}}
        return {"required": True, "content": content}

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies = super()._get_response_bodies(direction)
        bodies["200"]["content"] = {JSON: {"schema": self.component_of("McpResult", RESULT)}}
        return bodies

"""JSON-RPC 2.0 as MCP uses it: one call in a request, and its errors."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from hookhub.http.json_texts import refuse_constant, without_bom
from hookhub.http.json_values import MAX_DEPTH, is_deeper_than

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
SERVER_ERROR = -32000
# Of MCP and of MCP Events.
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022
NOT_FOUND = -32011
FORBIDDEN = -32012
EXHAUSTED = -32013
CALLBACK_FAILED = -32015

# HTTP statuses of errors, as in MCP's own servers; all others are 200.
STATUSES = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}
# The codes of errors that are HookHub's own, by HTTP status.
BY_STATUS = {400: INVALID_REQUEST, 403: FORBIDDEN, 404: NOT_FOUND, 422: INVALID_PARAMS, 429: EXHAUSTED}
# Ids and method names that would not be repeated in an answer or a log.
MAX_NAME = 200
MAX_ID = 2**53


class RpcError(Exception):
    """An error of a call, as it is sent."""

    def __init__(self, code: int, message: str, *, data: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    @property
    def status(self) -> int:
        """Return the HTTP status of the response."""
        return STATUSES.get(self.code, 200)


def invalid_params(message: str) -> RpcError:
    """Return the error of a call whose parameters are invalid."""
    return RpcError(INVALID_PARAMS, message)


class Call(NamedTuple):
    """A call of a method; a notification has no id, and gets no result."""

    id: str | int | None
    method: str
    params: dict[str, Any]


def parse(content: bytes) -> object:
    """Return the JSON in a body; raise RpcError if it is none."""
    try:
        return json.loads(without_bom(content).decode(), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, "The body is not valid JSON in UTF-8.") from error


def read_call(value: object) -> Call:
    """Return the call in a body's JSON; raise RpcError if it is not exactly one."""
    if isinstance(value, list):
        raise RpcError(INVALID_REQUEST, "Batches are not supported; send one call in a request.")
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'The body must be a JSON-RPC call: an object with "jsonrpc": "2.0".')
    method = value.get("method")
    if not isinstance(method, str) or not 0 < len(method) <= MAX_NAME:
        raise RpcError(INVALID_REQUEST, "method must be the name of a method.")
    if "id" in value and not is_id(value["id"]):
        raise RpcError(INVALID_REQUEST, "id must be a string or an integer.")
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise invalid_params("params must be an object.")
    if is_deeper_than(MAX_DEPTH, params):
        raise invalid_params("params is nested too deeply.")
    return Call(value.get("id"), method, params)


def is_id(value: object) -> bool:
    """Return whether a value can be the id of a call."""
    if isinstance(value, str):
        return len(value) <= MAX_NAME
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_ID


def id_in(value: object) -> str | int | None:
    """Return the id in a body's JSON, or None if there is no valid one."""
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str | int) and is_id(found) else None


def result_of(call_id: str | int | None, result: Mapping[str, object]) -> dict[str, object]:
    """Return the body of a call's answer."""
    return {"jsonrpc": "2.0", "id": call_id, "result": result}


def error_of(call_id: str | int | None, error: RpcError) -> dict[str, object]:
    """Return the body of an error."""
    detail: dict[str, object] = {"code": error.code, "message": error.message}
    if error.data is not None:
        detail["data"] = error.data
    return {"jsonrpc": "2.0", "id": call_id, "error": detail}


def refused(
    call_id: str | int | None, *, status: int, code: str, message: str, fields: Mapping[str, str]
) -> dict[str, object]:
    """Return the body of an error of HookHub's: its status and code, its message, and one for each invalid field."""
    text = "; ".join(f"{name} {problem}" for name, problem in fields.items()) or message
    return error_of(call_id, RpcError(BY_STATUS.get(status, SERVER_ERROR), text, data={"code": code}))

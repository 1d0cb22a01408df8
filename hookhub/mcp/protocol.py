"""MCP's versions, its headers, and how the server introduces itself."""

from collections.abc import Mapping
from typing import Any

from deliveries.version import VERSION
from hookhub.mcp.jsonrpc import HEADER_MISMATCH, UNSUPPORTED_VERSION, Call, RpcError

# The version whose requests stand alone, and those that begin with a handshake.
STATELESS = "2026-07-28"
HANDSHAKE = ("2025-11-25", "2025-06-18")
VERSIONS = (STATELESS, *HANDSHAKE)
# What a client sends before it has agreed upon a version.
BEFORE_A_VERSION = frozenset({"initialize", "ping"})

VERSION_HEADER = "MCP-Protocol-Version"
METHOD_HEADER = "Mcp-Method"
NAME_HEADER = "Mcp-Name"
VERSION_META = "io.modelcontextprotocol/protocolVersion"
SERVER_META = "io.modelcontextprotocol/serverInfo"

CAPABILITIES: Mapping[str, object] = {"tools": {}, "events": {}}
SERVER: Mapping[str, object] = {"name": "hookhub", "title": "HookHub", "version": VERSION}
INSTRUCTIONS = (
    "Lists the events of an organization (events/list), sends those you subscribe to (events/subscribe) to your "
    "callback, and shows with its tools what was sent."
)
# How long a client may keep a list. Event types can be registered at any time.
TTL_MS = 60_000


def require_headers(headers: Mapping[str, str], call: Call) -> None:
    """Raise RpcError unless the headers agree with the call, so that a proxy may rely on them.

    Clients of the versions with a handshake do not send the method as a header.
    """
    version, method, name = (headers.get(each) for each in (VERSION_HEADER, METHOD_HEADER, NAME_HEADER))
    may_omit = is_of_handshake(headers, call.method) or call.id is None
    if method != call.method and not (method is None and may_omit):
        raise RpcError(HEADER_MISMATCH, f"The header {METHOD_HEADER} must be the method of the body.")
    meta = call.params.get("_meta")
    claimed = meta.get(VERSION_META) if isinstance(meta, dict) else None
    if claimed is not None and claimed != version:
        raise RpcError(HEADER_MISMATCH, f"The header {VERSION_HEADER} must be the version in params._meta.")
    if call.method == "tools/call" and name is not None and name != call.params.get("name"):
        raise RpcError(HEADER_MISMATCH, f"The header {NAME_HEADER} must be the name in params.")
    if version is not None and version not in VERSIONS and call.method != "initialize":
        raise RpcError(
            UNSUPPORTED_VERSION,
            f"The header {VERSION_HEADER} must be one of: {', '.join(VERSIONS)}.",
            data={"supported": list(VERSIONS), "requested": version[:100]},
        )


def is_of_handshake(headers: Mapping[str, str], method: str) -> bool:
    """Return whether a request is of a version with a handshake, or may be its beginning."""
    version = headers.get(VERSION_HEADER)
    if version is None:
        return METHOD_HEADER not in headers and method in BEFORE_A_VERSION
    return version in HANDSHAKE


def in_terms_of(headers: Mapping[str, str], method: str, result: dict[str, Any]) -> dict[str, Any]:
    """Return a result as the version of a request has it: only later ones say that it is complete."""
    return result if is_of_handshake(headers, method) else {**result, "resultType": "complete"}


def discover() -> dict[str, Any]:
    """Return the result of server/discover."""
    return {
        "supportedVersions": list(VERSIONS),
        "capabilities": CAPABILITIES,
        "instructions": INSTRUCTIONS,
        "_meta": {SERVER_META: SERVER},
        **cached(),
    }


def initialize(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of the handshake: the client's version, or the latest one if that is unknown."""
    asked = params.get("protocolVersion")
    return {
        "protocolVersion": asked if asked in HANDSHAKE else HANDSHAKE[0],
        "capabilities": CAPABILITIES,
        "serverInfo": SERVER,
        "instructions": INSTRUCTIONS,
    }


def cached() -> dict[str, Any]:
    """Return what a list says of how long, and for whom, it may be kept."""
    return {"ttlMs": TTL_MS, "cacheScope": "private"}

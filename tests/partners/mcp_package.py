"""PyPI's mcp as a client, and as the published server of MCP Events; importing it takes a second of each process."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import uvicorn
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from mcp_types import Request, RequestParams
from mcp_webhook_events import EventDefinition, McpEvents, SafeHttp
from pydantic import ConfigDict

Call = tuple[str, dict[str, Any]]


class AnyParams(RequestParams):
    model_config = ConfigDict(extra="allow")


async def _talk(url: str, key: str, mode: str, use: Callable[[Client], Any]) -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        return await use(client)


def talk(url: str, key: str, use: Callable[[Client], Any], *, mode: str = "auto") -> Any:
    """Connect a client, and return what ``use`` returns for it."""
    return anyio.run(_talk, url, key, mode, use)


async def raw(client: Client, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a method that the client does not know, or its error."""
    # A name of the method for each, because the client's own requests have one.
    request = Request[AnyParams, str](method=method, params=AnyParams(**params))
    try:
        found = await client.session.send_request(request, AnyResult)
    except MCPError as error:
        return {"error": {"code": error.error.code, "data": error.error.data}}
    return found.model_dump(mode="json", by_alias=True)


class AnyResult(RequestParams):
    model_config = ConfigDict(extra="allow")


def calls_of(url: str, key: str, *calls: Call, mode: str = "auto") -> list[dict[str, Any]]:
    """Make some calls in one session, and return the result or the error of each."""

    async def use(client: Client) -> list[dict[str, Any]]:
        return [await raw(client, method, params) for method, params in calls]

    found: list[dict[str, Any]] = talk(url, key, use, mode=mode)
    return found


class Loopback(SafeHttp):
    """Requires https as in production, and allows this machine."""

    def _public_address(self, host: str, port: int) -> str:
        return socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP)[0][4][0]  # type: ignore[return-value]


@contextmanager
def published_server(name: str, properties: dict[str, Any], *, folder: Path) -> Iterator[tuple[str, McpEvents]]:
    """Run the server of mcp-webhook-events with one event; yield its address, and what publishes."""
    server = MCPServer("Published")
    events = McpEvents(
        server,
        store=str(folder / "events.sqlite3"),
        definitions=[
            EventDefinition(
                name,
                "An app was deployed.",
                {"type": "object", "properties": properties, "additionalProperties": False},
                {"type": "object", "properties": properties},
            )
        ],
        http=Loopback(),
    )
    events.install()
    app = server.streamable_http_app(stateless_http=True, json_response=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", events
        running.should_exit = True
        thread.join(30)

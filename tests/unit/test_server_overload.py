"""What an overloaded web server logs for the operator."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from hookhub.server.body import Budget, Message
from hookhub.server.front import Front
from hookhub.server.health import Readiness
from hookhub.server.limits import Limits
from hookhub.server.pool import Pool

SCOPE = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "http_version": "1.1", "headers": []}


def test_a_full_queue_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()
    statuses: list[int] = []

    def hold(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        gate.wait()
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request"}

    async def scenario() -> None:
        pool = Pool(threads=1, max_waiting=1)
        front = Front(
            hold,
            limits=Limits(publish=1000),
            pool=pool,
            budget=Budget(1000),
            readiness=Readiness(lambda: (200, {}), otherwise=(503, {})),
            admit=lambda _: None,
        )
        # The thread has one, one is handed out ahead, and one waits.
        requests = [asyncio.create_task(front(dict(SCOPE), receive, send)) for _ in range(6)]
        while statuses.count(503) < 3:
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*requests)
        pool.close()

    asyncio.run(scenario())

    assert sorted(statuses) == [200] * 3 + [503] * 3
    assert [record.getMessage() for record in caplog.records if record.name == "hookhub.http"] == [
        "Too many requests are waiting; answered 503 since the last message: 1"
    ]

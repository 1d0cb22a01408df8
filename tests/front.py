"""The web server's front in the test's own process, with Django behind it; requests are awaited together."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connection

from deliveries.events import Batch
from hookhub.publishing.publish import GroupStore
from hookhub.server.body import Budget
from hookhub.server.front import Front
from hookhub.server.group_commit import GroupCommit, Store
from hookhub.server.health import Readiness
from hookhub.server.intake import EventIntake
from hookhub.server.limits import Limits
from hookhub.server.lock_waits import LockWaits
from hookhub.server.pool import Pool, Turn
from hookhub.service.wsgi import django

LIVE = (200, {"status": "ok"})


@dataclass(frozen=True)
class Sent:
    """One request to publish."""

    key: str
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = "/v1/events"
    query: str = ""
    prefix: str = ""
    method: str = "POST"

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    def scope(self) -> dict[str, Any]:
        told = {
            "host": "testserver", "content-type": "application/json", "content-length": str(len(self.content)),
            "authorization": f"Bearer {self.key}", **{name.lower(): value for name, value in self.headers.items()},
        }  # fmt: skip
        return {
            "type": "http", "method": self.method, "path": self.prefix + self.path,
            "raw_path": (self.prefix + self.path).encode(), "root_path": self.prefix,
            "query_string": self.query.encode(), "http_version": "1.1", "scheme": "http",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in told.items()],
            "client": ("127.0.0.1", 1), "server": ("testserver", 80),
        }  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """The response to a request."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Groups:
    """Counts the batches of each group; ``before_first`` is awaited before the first group is stored."""

    def __init__(self, store: Store, before_first: Callable[[], Awaitable[object]]) -> None:
        self.sizes: list[int] = []
        self._store, self._before_first = store, before_first

    async def __call__(self, batches: Sequence[Batch]) -> Any:
        self.sizes.append(len(batches))
        if len(self.sizes) == 1:
            await self._before_first()
        return await self._store(batches)


async def _nothing() -> None: ...


def serve(
    *requests: Sequence[Sent],
    meanwhile: Sequence[Sent] = (),
    store: GroupStore | None = None,
    before_first: Callable[[], Awaitable[object]] = _nothing,
    max_waiting: int = 100,
    with_intake: bool = True,
) -> tuple[list[Answered], list[int]]:
    """Send each list of requests together, after the list before it; return the responses and the sizes of the groups.

    The requests ``meanwhile`` are read while the first group is being stored; their responses are the last ones.
    """
    store = store or GroupStore()
    pool = Pool(threads=2, max_waiting=max_waiting)
    late: list[asyncio.Task[Answered]] = []

    async def read_meanwhile() -> None:
        await before_first()
        late.extend(asyncio.create_task(_exchange(front, each)) for each in meanwhile)
        for _ in range(1000):
            if commit.waiting == min(len(meanwhile), max_waiting):
                return
            await asyncio.sleep(0)
        raise AssertionError("the requests were not read")

    groups = Groups(store, read_meanwhile)
    commit = GroupCommit(groups, max_waiting=max_waiting)
    lock_waits = LockWaits(store.alone, max_waiting=max_waiting)
    intake = EventIntake(pool=pool, groups=commit, lock_waits=lock_waits, turn_of=lambda _: Turn("127.0.0.1"))
    front = Front(
        _closing_application, limits=Limits(publish=1_000_000, deadline=timedelta(seconds=30), min_rate=1), pool=pool,
        budget=Budget(10_000_000), readiness=Readiness(lambda: LIVE, otherwise=LIVE), admit=lambda _: None,
        intake=intake if with_intake else None,
    )  # fmt: skip

    async def scenario() -> list[Answered]:
        answers: list[Answered] = []
        for some in requests:
            answers += await asyncio.gather(*(_exchange(front, each) for each in some))
        answers += await asyncio.gather(*late)
        await intake.close()
        await store.close()
        pool.close()
        return answers

    return asyncio.run(scenario()), groups.sizes


async def _exchange(front: Front, request: Sent) -> Answered:
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.content, "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    await front(request.scope(), receive, send)
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return Answered(messages[0]["status"], headers, b"".join(each["body"] for each in messages[1:]))


def _closing_application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    with _closed():
        return list(django(environ, start_response))


@contextlib.contextmanager
def _closed() -> Iterator[None]:
    try:
        yield
    finally:
        connection.close()

"""The API's resource ``replays``: jobs that redeliver in the background."""

# Made by `make sdk` from ../aio/replays.py, which is the one to change.

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .encoding import Json, encode, path_of
from .responses import json_object, not_hookhub
from .transport import Transport


@dataclass(frozen=True)
class Replay:
    """A job that redelivers in the background, as it was when last fetched.

    ``finished`` is True when the job has completed or was cancelled. ``details`` is the API's JSON: among others
    ``state``, and the counts ``total``, ``examined`` and ``redelivered``.
    """

    id: str
    finished: bool
    details: Json
    _look: Callable[[], Replay]

    def wait(self, timeout: timedelta = timedelta(minutes=5), *, every: timedelta = timedelta(seconds=1)) -> Replay:
        """Poll at the interval ``every`` and return the finished job.

        Raise TimeoutError after ``timeout``; the job continues on the server. Raise HookHubError when a poll fails.
        """
        until = time.monotonic() + timeout.total_seconds()
        seen = self
        while not seen.finished:
            if time.monotonic() > until:
                raise TimeoutError(f"replay {self.id} is still running after {timeout}")
            time.sleep(every.total_seconds())
            seen = self._look()
        return seen


class Replays:
    """``client.replays``: the jobs that ``client.replay()`` has started; every method raises HookHubError."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, page_size: int | None = None) -> Iterator[Json]:
        """Yield all jobs as the API returns them, newest first, fetching pages as needed."""
        return self._transport.pages("replays", {"limit": page_size})

    def get(self, replay: str) -> Replay:
        """Return one job."""
        return replay_of(self._transport, "GET", path_of("replays", replay))

    def cancel(self, replay: str) -> Replay:
        """End a job and return it; what it has redelivered stays so."""
        return replay_of(self._transport, "POST", path_of("replays", replay, "cancel"), repeatable=True)


def replay_of(
    transport: Transport,
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    repeatable: bool = False,
) -> Replay:
    """Send a request whose response is a job, and return it; raise HookHubError."""
    content = None if body is None else encode(body)
    response = transport.call(method, path, content=content, repeatable=repeatable)
    job = json_object(response)
    job_id = job.get("id")
    if not isinstance(job_id, str):
        raise not_hookhub(response)
    return Replay(
        id=job_id,
        finished=job.get("finished_at") is not None,
        details=job,
        _look=lambda: replay_of(transport, "GET", path_of("replays", job_id)),
    )

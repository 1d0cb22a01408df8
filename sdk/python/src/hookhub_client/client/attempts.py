"""Counts the attempts at one request, and decides about each whether it was the last."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta, timezone

from .encoding import Response
from .responses import no_response, rejection
from .retry import RETRIED_STATUSES, backoff, retry_after


class Attempts:
    """The attempts at one request, within ``retries`` and a ``deadline`` for all of them with their pauses.

    ``repeatable`` if the request may take effect twice. ``done_status`` is the API's answer to a request that it has
    carried out before: after an attempt that may have been carried out, it counts as success.
    """

    def __init__(
        self, *, base: str, retries: int, deadline: timedelta, repeatable: bool, done_status: int | None = None
    ) -> None:
        self._base = base
        self._retries = retries
        self._until = time.monotonic() + deadline.total_seconds()
        self._repeatable = repeatable
        self._done_status = done_status
        self._number = 1
        self._may_be_done = False

    def limit(self, timeout: timedelta) -> float:
        """Return the seconds that the next attempt may wait for a connection, and for each part of the response."""
        return min(timeout.total_seconds(), self.left())

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return max(0.001, self._until - time.monotonic())

    def pause_after(self, response: Response) -> timedelta | None:
        """Return the pause before the next attempt, or None if this response is the result; raise HookHubError."""
        status = response.status_code
        if 200 <= status < 300 or (self._may_be_done and status == self._done_status):
            return None
        # Repeating what is not repeatable is safe only after 429: the API has not even read it.
        may_repeat = status in RETRIED_STATUSES and (self._repeatable or status == 429)
        asked = retry_after(response.headers.get("Retry-After"), now=datetime.now(timezone.utc))
        pause = self._pause(asked) if may_repeat else None
        if pause is None:
            raise rejection(response, may_repeat=self._repeatable)
        self._may_be_done = self._may_be_done or status != 429
        return pause

    def pause_after_error(self, error: Exception, *, is_transient: bool, has_arrived: bool) -> timedelta:
        """Return the pause before the next attempt; raise ConnectionFailed if there is none.

        ``has_arrived`` if the request may have reached the server.
        """
        may_repeat = is_transient and (self._repeatable or not has_arrived)
        pause = self._pause(timedelta(0)) if may_repeat else None
        if pause is None:
            raise no_response(error, base=self._base, attempts=self._number) from error
        self._may_be_done = self._may_be_done or has_arrived
        return pause

    def _pause(self, asked: timedelta) -> timedelta | None:
        if self._number > self._retries:
            return None
        pause = max(asked, backoff(self._number, jitter=random.random()))  # noqa: S311 - jitter needs no cryptography.
        # Better an error now, by which the caller can decide, than after a wait that cannot help.
        if time.monotonic() + pause.total_seconds() > self._until:
            return None
        self._number += 1
        return pause

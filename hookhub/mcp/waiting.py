"""Waits for the proof of a callback, which a worker asks for: without a transaction, and in the web server no thread.

The web server looks again from time to time (``hookhub.server.polling``). Elsewhere, the thread of the request does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Lock
from time import monotonic, sleep

from deliveries.db import sql
from deliveries.formats.base import stamp
from deliveries.webhooks import mcp_verdicts
from deliveries.webhooks.mcp_subscribing import Asked
from deliveries.webhooks.mcp_verdicts import Verdict
from hookhub.mcp.jsonrpc import EXHAUSTED, RpcError
from hookhub.mcp.subscriptions import callback_failed

# Longer than the request to the callback may take, with time for a worker to find it. The caller waits as long.
PATIENCE = timedelta(seconds=15)
INTERVAL = timedelta(milliseconds=200)
# How many calls of one caller, and of all, may wait in a process: each look is a query.
MAX_OF_CALLER = 8
MAX_WAITING = 64

# How much longer a place is kept for a call whose connection is lost, and which is looked at no more.
GRACE = timedelta(seconds=5)

_waiting: "list[Wait]" = []
_lock = Lock()


class Wait:
    """A call that waits for the verdict on a callback, and has a place for it."""

    def __init__(self, caller: str) -> None:
        """Take a place; raise RpcError if there is none."""
        self.caller = caller
        now = monotonic()
        self.deadline = now + PATIENCE.total_seconds()
        with _lock:
            _waiting[:] = [each for each in _waiting if each.deadline + GRACE.total_seconds() > now]
            of_caller = sum(each.caller == caller for each in _waiting)
            if of_caller >= MAX_OF_CALLER or len(_waiting) >= MAX_WAITING:
                message = "Too many callbacks are being verified; try again in a moment."
                raise RpcError(EXHAUSTED, message, data={"limit": "waiting"})
            _waiting.append(self)

    def look(self, asked: Asked) -> Verdict | None:
        """Return the verdict, if there is one by now or it is too late; None to look again."""
        verdict = mcp_verdicts.verdict_on(asked)
        if verdict is None and monotonic() >= self.deadline:
            verdict = mcp_verdicts.give_up(asked, now=sql.database_now())
        return verdict

    def end(self) -> None:
        """Release the place; again is harmless."""
        with _lock:
            if self in _waiting:
                _waiting.remove(self)


@contextmanager
def place(caller: str) -> Iterator[Wait]:
    """Return a place for a call that may have to wait; it is given back if the block fails."""
    wait = Wait(caller)
    try:
        yield wait
    except BaseException:
        wait.end()
        raise


def block(look: Callable[[], bytes | None]) -> bytes:
    """Look until there is something, in this thread."""
    while (found := look()) is None:
        sleep(INTERVAL.total_seconds())
    return found


def answer_to(verdict: Verdict, subscription_id: str) -> dict[str, object]:
    """Return the result of events/subscribe; raise RpcError if the callback has not proved itself."""
    if verdict.reason is not None or verdict.expires_at is None:
        raise callback_failed(verdict.reason or mcp_verdicts.ENDED)
    return {
        "id": subscription_id,
        "refreshBefore": stamp(whole_seconds(verdict.expires_at)),
        "cursor": None,
        "truncated": False,
    }


def whole_seconds(moment: datetime) -> datetime:
    """Return a time without the fraction of its second: a subscriber must not renew too late."""
    return moment.astimezone(UTC).replace(microsecond=0)

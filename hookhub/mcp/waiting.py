"""Waits for the proof of a callback, which a worker asks for: without a transaction, and in the web server no thread.

The web server looks again from time to time (``hookhub.server.polling``). Elsewhere, the thread of the request does.
"""

from collections.abc import Callable
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
# How many calls of one organization, and of all, may wait in a process: each look is a query, and a worker asks only so
# many callbacks at a time.
MAX_OF_ORGANIZATION = 8
MAX_WAITING = 64
# How much longer a call counts that is looked for no more, because its connection is lost.
GRACE = timedelta(seconds=5)

_waiting: "list[Wait]" = []
_lock = Lock()


def require_room(organization_id: int) -> None:
    """Raise RpcError if too many calls wait already."""
    now = monotonic()
    with _lock:
        _waiting[:] = [each for each in _waiting if each.deadline + GRACE.total_seconds() > now]
        of_organization = sum(each.organization_id == organization_id for each in _waiting)
        if of_organization >= MAX_OF_ORGANIZATION or len(_waiting) >= MAX_WAITING:
            message = "Too many callbacks are being verified; try again in a moment."
            raise RpcError(EXHAUSTED, message, data={"limit": "waiting"})


class Wait:
    """A call that waits for the verdict on a callback."""

    def __init__(self, organization_id: int) -> None:
        """Count the call among those that wait, until it ends."""
        self.organization_id = organization_id
        self.deadline = monotonic() + PATIENCE.total_seconds()
        with _lock:
            _waiting.append(self)

    @property
    def is_over(self) -> bool:
        """Return whether the caller has waited for long enough."""
        return monotonic() >= self.deadline

    def look(self, asked: Asked) -> Verdict | None:
        """Return the verdict, if there is one by now or it is too late; None to look again."""
        verdict = mcp_verdicts.verdict_on(asked)
        if verdict is None and self.is_over:
            verdict = mcp_verdicts.give_up(asked, now=sql.database_now())
        return verdict

    def end(self) -> None:
        """Count the call no more; again is harmless."""
        with _lock:
            if self in _waiting:
                _waiting.remove(self)


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

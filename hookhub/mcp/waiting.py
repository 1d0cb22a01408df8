"""Waits for the proof of a callback, which a worker asks for."""

from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any

from deliveries.db import sql
from deliveries.formats.base import stamp
from deliveries.webhooks import mcp_verdicts
from deliveries.webhooks.mcp_subscribing import Asked
from deliveries.webhooks.mcp_verdicts import Verdict
from hookhub.http import long_polls
from hookhub.http.long_polls import Room, Wait
from hookhub.mcp.jsonrpc import EXHAUSTED, RpcError
from hookhub.mcp.subscriptions import callback_failed

# Longer than the request to the callback may take, with time for a worker to find it. The caller waits as long.
PATIENCE = timedelta(seconds=15)
# A worker asks only so many callbacks at a time.
ROOM = Room(of_organization=8, of_all=64)
# Not that of polls: a consumer that always waits would leave no place.
ROOM_IN_THREADS = Room(of_organization=long_polls.THREADS_THAT_WAIT, of_all=long_polls.THREADS_THAT_WAIT)


def enter(organization_id: int, environ: Mapping[str, Any]) -> Wait:
    """Count a call among those that wait; raise RpcError if too many wait already."""
    room = ROOM_IN_THREADS if long_polls.needs_a_thread(environ) else ROOM
    wait = room.enter(organization_id, patience=PATIENCE)
    if wait is None:
        message = "Too many callbacks are being verified; try again in a moment."
        raise RpcError(EXHAUSTED, message, data={"limit": "waiting"})
    return wait


def look(wait: Wait, asked: Asked) -> Verdict | None:
    """Return the verdict, if there is one by now or it is too late; None to look again."""
    verdict = mcp_verdicts.verdict_on(asked)
    if verdict is None and wait.is_over:
        verdict = mcp_verdicts.give_up(asked, now=sql.database_now())
    return verdict


def answer_to(verdict: Verdict, subscription_id: str) -> dict[str, object]:
    """Return the result of events/subscribe; raise RpcError if the callback has not proved itself."""
    if verdict.reason is not None or verdict.expires_at is None:
        raise callback_failed(verdict.reason or mcp_verdicts.ENDED)
    return {
        "id": subscription_id,
        # Without the fraction of its second, so that the subscriber does not renew too late.
        "refreshBefore": stamp(verdict.expires_at.astimezone(UTC).replace(microsecond=0)),
        "cursor": None,
        "truncated": False,
    }

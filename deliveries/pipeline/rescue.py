"""Leases that name the process that holds them, so that those of a dead process are rescued before they expire."""

import logging
import os
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from deliveries import system_events, telemetry, wakeup
from deliveries.db import arrays, sql
from deliveries.formats import FORMATS, MASK
from deliveries.pipeline import exhausted
from deliveries.policy.retry import MAX_LEASE_LOSSES, POISON_SPREAD

log = logging.getLogger("hookhub.leases")

# How many deliveries one statement rescues.
BATCH = 500
# The id of the worker that this process belongs to. Generated before the children are forked, so they all share it.
_worker = os.urandom(8)


def worker_id() -> str:
    """Return the id of the worker that this process belongs to, as 16 hexadecimal digits."""
    return _worker.hex()


def new_lease() -> UUID:
    """Return a new lease: 8 bytes of worker id, 4 bytes of process id, and 4 random bytes."""
    return UUID(bytes=_worker + os.getpid().to_bytes(4) + os.urandom(4))


def lease_pid(lease: UUID) -> int:
    """Return the id of the process that made a lease; it is meaningful only on that process's machine."""
    return int.from_bytes(lease.bytes[8:12])


def rescue_dead_processes(*, now: datetime) -> int:
    """Rescue the deliveries leased by dead processes of this worker; return how many.

    Only a worker's parent can see which of its children live. If a whole worker or machine has died, its deliveries are
    rescued when their leases expire.
    """
    bounds = {"first": UUID(bytes=_worker + bytes(8)), "last": UUID(bytes=_worker + b"\xff" * 8)}
    dead = [lease for (lease,) in sql.run(FIND_LEASES, bounds) if not is_alive(lease_pid(lease))]
    if not dead:
        return 0
    count = _rescue(RESCUE_LEASES, {"leases": arrays.uuids(dead)}, now=now)
    log.warning("Rescued %d deliveries of dead processes", count)
    wakeup.notify()
    return count


def rescue_expired(*, now: datetime) -> int:
    """Rescue deliveries with expired leases, whose workers have died; return how many."""
    return _rescue(RESCUE_EXPIRED, {}, now=now)


def _rescue(statement: str, params: Mapping[str, object], *, now: datetime) -> int:
    limits = {"limit": BATCH, "max_losses": MAX_LEASE_LOSSES, "spread": POISON_SPREAD}
    published = 0
    with sql.transaction():
        rows = sql.run(statement, {**params, **limits, "now": now})
        count = len(rows)
        if failed := [delivery_id for delivery_id, state in rows if state == "failed"]:
            published = exhausted.publish(failed, now=now)
    system_events.committed(published)
    if count:
        telemetry.rescued(count)
    return count


def is_alive(pid: int) -> bool:
    """Return whether a process with this id exists; it may be another one if the id has been reused."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


FIND_LEASES = """
SELECT DISTINCT lease FROM hookhub_delivery WHERE state = 'sending' AND lease BETWEEN %(first)s AND %(last)s
"""

# The URL as the attempt log may show it, masked as in ``Format.show_url``.
_SHOWN_URL = f"""
CASE WHEN w.format IN ({", ".join(f"'{slug}'" for slug, one in FORMATS.items() if not one.url_is_secret)})
     THEN CASE WHEN w.sealed_url IS NULL AND strpos(w.url, '?') > 0
               THEN split_part(w.url, '?', 1) || '?{MASK}' ELSE w.url END
     ELSE substring(w.url from '^[a-z]+://[^/]+') || '/{MASK}' END
"""

# A crash is not the receiver's failure: the lost attempt is recorded, the delivery stays at the same step of its retry
# schedule, and its next attempt is due at once. A delivery that repeatedly takes down its worker is a poison message.
# To keep it from taking the rest of its batch along each time, deliveries lost again are delayed, each for a different
# time derived from the random bits of its id.
_RESCUE = f"""
WITH lost AS MATERIALIZED (
    SELECT d.id, d.webhook_id, d.attempts_made, d.leased_at, d.lease_losses + 1 AS losses, {_SHOWN_URL} AS url,
           d.lease_losses * get_byte(uuid_send(d.id), 15) * %(spread)s::interval AS wait
    FROM hookhub_delivery d JOIN hookhub_webhook w ON w.id = d.webhook_id
    WHERE d.state = 'sending' AND {{which}}
    ORDER BY d.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF d SKIP LOCKED
), recorded AS (
    INSERT INTO hookhub_attempt (id, delivery_id, webhook_id, number, started_at, url, request_headers, outcome,
                                    response_headers, response_body, error)
    SELECT hookhub_uuid7(%(now)s), id, webhook_id, attempts_made, leased_at, url, '', 'unknown', '', '',
           'The worker died, or its lease expired, before it recorded the outcome.'
    FROM lost
    ON CONFLICT (delivery_id, number) DO NOTHING
)
UPDATE hookhub_delivery d
SET state = CASE WHEN lost.losses >= %(max_losses)s THEN 'failed' ELSE 'pending' END,
    finish_reason = CASE WHEN lost.losses >= %(max_losses)s THEN 'poison' END,
    finished_at = CASE WHEN lost.losses >= %(max_losses)s THEN %(now)s::timestamptz END,
    due_at = CASE WHEN lost.losses >= %(max_losses)s THEN NULL ELSE %(now)s::timestamptz + lost.wait END,
    readiness = CASE WHEN lost.wait > interval '0' THEN 0 ELSE 2 END,
    lease_losses = lost.losses, lease = NULL, leased_at = NULL, leased_until = NULL
FROM lost WHERE d.id = lost.id
RETURNING d.id, d.state
"""

RESCUE_EXPIRED = _RESCUE.format(which="d.leased_until < %(now)s")
RESCUE_LEASES = _RESCUE.format(which="d.lease = ANY(%(leases)s::uuid[])")

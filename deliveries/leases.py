"""Leases that tell whose they are, so that a dead process's are taken back at once and not when they run out."""

import logging
import os
from datetime import datetime
from uuid import UUID

from deliveries import arrays, doorbell, queue
from deliveries.retry import APART, LEASE_LOSSES_MOST

log = logging.getLogger("hookhub.leases")

# Of all that one worker's processes take back at a time.
BATCH = 500
# The worker that this process belongs to: made before its children are forked, and so the same in all of them.
_worker = os.urandom(8)


def worker() -> str:
    """Return the number of the worker that this process belongs to."""
    return _worker.hex()


def make() -> UUID:
    """Make a lease: the worker's number, the process's, and a random rest."""
    return UUID(bytes=_worker + os.getpid().to_bytes(4) + os.urandom(4))


def process_of(lease: UUID) -> int:
    """Give the number of the process that a lease was made in; it means something on that process's machine only."""
    return int.from_bytes(lease.bytes[8:12])


def reclaim_from_the_dead(*, now: datetime) -> int:
    """Take back what processes of this worker had in hand that live no more; give how many deliveries that was.

    Only a worker's parent can tell, and only of its own children. What a whole worker or a whole machine had in hand
    when it died is taken back when the leases run out.
    """
    bounds = {"first": UUID(bytes=_worker + bytes(8)), "last": UUID(bytes=_worker + b"\xff" * 8)}
    dead = [lease for (lease,) in queue.run(LEASES_BETWEEN, bounds) if not is_alive(process_of(lease))]
    if not dead:
        return 0
    wanted = {"leases": arrays.uuids(dead), "now": now, "limit": BATCH, "most": LEASE_LOSSES_MOST, "apart": APART}
    rows = queue.run(queue.RECLAIM_LEASES, wanted)
    log.warning("Took back %d deliveries of processes that died", len(rows))
    doorbell.ring()
    return len(rows)


LEASES_BETWEEN = """
SELECT DISTINCT lease FROM deliveries_delivery WHERE state = 'sending' AND lease BETWEEN %(first)s AND %(last)s
"""


def is_alive(pid: int) -> bool:
    """Tell whether a process lives; one that has taken over the number of a dead one passes for it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""Leases that name the process that holds them, so that those of a dead process are rescued before they expire."""

import logging
import os
from datetime import datetime
from uuid import UUID

from deliveries import wakeup
from deliveries.db import arrays, sql
from deliveries.policy.retry import APART, MAX_LEASE_LOSSES

log = logging.getLogger("hookhub.leases")

# How many deliveries one statement rescues.
BATCH = 500
# The id of the worker that this process belongs to. Generated before the children are forked, so they all share it.
_worker = os.urandom(8)


def worker() -> str:
    """Return the id of the worker that this process belongs to, as 16 hexadecimal digits."""
    return _worker.hex()


def make() -> UUID:
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
    dead = [lease for (lease,) in sql.run(LEASES_BETWEEN, bounds) if not is_alive(lease_pid(lease))]
    if not dead:
        return 0
    wanted = {"leases": arrays.uuids(dead), "now": now, "limit": BATCH, "most": MAX_LEASE_LOSSES, "apart": APART}
    rows = sql.run(sql.RECLAIM_LEASES, wanted)
    log.warning("Rescued %d deliveries of dead processes", len(rows))
    wakeup.notify()
    return len(rows)


LEASES_BETWEEN = """
SELECT DISTINCT lease FROM deliveries_delivery WHERE state = 'sending' AND lease BETWEEN %(first)s AND %(last)s
"""


def is_alive(pid: int) -> bool:
    """Return whether a process with this id exists; it may be another one if the id has been reused."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

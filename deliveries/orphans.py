"""What a worker's child does whose parent was killed: it settles what it has in flight, and then ends."""

import logging
import os
import threading
import time
from datetime import timedelta

from django.conf import settings

from deliveries import stopping

log = logging.getLogger("hookhub.orphans")

# How often a child looks whether its parent lives.
LOOK_EVERY = timedelta(milliseconds=500)

# Held by the thread that drains, and in the end by the one that ends the process: no drain is cut off, and none begins.
at_work = threading.RLock()


def end_without_parent() -> None:
    """Have this process end once its parent is gone and nothing is in flight any more."""
    stopping.stop_without_parent()
    threading.Thread(target=_end_when_orphaned, name="orphans", daemon=True).start()


def _end_when_orphaned() -> None:
    while not stopping.is_orphaned():
        time.sleep(LOOK_EVERY.total_seconds())
    log.warning("The parent of this process is gone; it ends when what it has in flight is settled")
    finish_before_exit()
    # Nobody is left to hear of an ordinary exit, and the pool's own would wait for somebody.
    os._exit(0)


def finish_before_exit() -> None:
    """Wait until no thread of this process drains, and let none begin; call it when the process is about to exit.

    Once the leases have run out there is nothing to wait for: results would change nothing.
    """
    if not at_work.acquire(timeout=settings.HOOKHUB_LEASE.total_seconds()):
        log.error("What this process had in flight could not be settled; it will be repeated")

"""Exit of a worker's child process: it settles its requests in flight first, also when its parent was killed."""

import logging
import os
import threading
import time
from datetime import timedelta

from django.conf import settings

from deliveries import shutdown

log = logging.getLogger("hookhub.orphans")

# How often a child checks whether its parent is alive.
CHECK_INTERVAL = timedelta(milliseconds=500)

# Held by the thread that runs the worker loop, and finally by the thread that exits the process, so that no run is
# interrupted and no further one starts.
drain_lock = threading.RLock()


def exit_when_orphaned() -> None:
    """Make this process exit once its parent has died and its requests in flight are settled."""
    shutdown.follow_parent()
    threading.Thread(target=_watch_parent, name="orphans", daemon=True).start()


def _watch_parent() -> None:
    while not shutdown.is_orphaned():
        time.sleep(CHECK_INTERVAL.total_seconds())
    log.warning("The parent process died; exiting once requests in flight are settled")
    finish_before_exit()
    # The pool's exit handler would wait for the dead parent.
    os._exit(0)


def finish_before_exit() -> None:
    """Wait until no thread runs the worker loop, and prevent further runs; call it when the process is about to exit.

    Waits for at most one lease: after that the deliveries in flight belong to other workers.
    """
    if not drain_lock.acquire(timeout=settings.HOOKHUB_LEASE.total_seconds()):
        log.error("Requests in flight could not be settled before exit; their deliveries will be repeated")

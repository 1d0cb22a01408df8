"""Run the worker loop once in a worker's process, whatever woke it."""

import logging
from datetime import timedelta

from django.db import InterfaceError, OperationalError, connection

from deliveries.failpoints import hit
from deliveries.worker import orphans
from deliveries.worker.loop import run_until_idle

log = logging.getLogger("hookhub.drain")

# So long that few events find the loop between two runs, short enough that Celery regains control every minute.
TIME_SLICE = timedelta(minutes=1)
# How long the loop listens after the last event: the next one then does not take the way through Celery.
STAY = timedelta(seconds=5)


def drain(*, stay: timedelta = STAY) -> None:
    """Run the worker loop until nothing is due.

    If the database is unavailable, log one line and return: the worker's scheduler sends a wake-up once it is back.
    """
    hit("woken")
    with orphans.drain_lock:
        try:
            run_until_idle(TIME_SLICE, stay=stay)
        except (OperationalError, InterfaceError) as error:
            log.warning("The database is unavailable; nothing is sent until it is back: %s", error)
            connection.close()

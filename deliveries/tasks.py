"""The Celery task that runs the worker loop."""

import logging
from datetime import timedelta

from celery import shared_task
from django.db import InterfaceError, OperationalError, connection

from deliveries.wakeup import MIN_INTERVAL
from deliveries.worker import orphans
from deliveries.worker.loop import run_until_idle

log = logging.getLogger("hookhub.drain")

# Long enough to be worth a message, short enough that Celery regains control soon.
TIME_SLICE = timedelta(seconds=10)
# A little longer than the minimum interval between wake-ups: an event accepted in that interval, for which no wake-up
# may be sent yet, is found by the run that the last wake-up started.
LINGER = MIN_INTERVAL * 1.2


@shared_task(name="deliveries.drain")
def drain() -> None:
    """Run the worker loop; the message itself carries no data.

    If the database is unavailable, log one line and return: the worker's scheduler sends a wake-up once it is back.
    """
    with orphans.drain_lock:
        try:
            run_until_idle(TIME_SLICE, linger=LINGER)
        except (OperationalError, InterfaceError) as error:
            log.warning("The database is unavailable; nothing is sent until it is back: %s", error)
            connection.close()

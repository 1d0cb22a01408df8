"""Celery's way into the pipeline."""

import logging
from datetime import timedelta

from celery import shared_task
from django.db import InterfaceError, OperationalError, connection

from deliveries import orphans
from deliveries.doorbell import APART
from deliveries.drain import drain_once

log = logging.getLogger("hookhub.drain")

# Long enough to be worth its message, short enough that a worker that is to stop or to change its mind soon can.
SLICE = timedelta(seconds=10)
# A little longer than the bell's own pause: what is accepted while it may not ring is found by the drain it woke.
LINGER = APART * 1.2


@shared_task(name="deliveries.drain")
def drain() -> None:
    """Do what is due; the message that brought us here says only that there is something.

    While the database is away there is nothing to be done, and nothing to be told that the operator could not read off
    one line: the worker's clock rings again when it is back.
    """
    with orphans.at_work:
        try:
            drain_once(SLICE, linger=LINGER)
        except (OperationalError, InterfaceError) as error:
            log.warning("The database does not answer, so nothing is drained until it does: %s", error)
            connection.close()

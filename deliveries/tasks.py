"""Celery's way into the pipeline."""

from datetime import timedelta

from celery import shared_task

from deliveries import orphans
from deliveries.doorbell import APART
from deliveries.drain import drain_once

# Long enough to be worth its message, short enough that a worker that is to stop or to change its mind soon can.
SLICE = timedelta(seconds=10)
# A little longer than the bell's own pause: what is accepted while it may not ring is found by the drain it woke.
LINGER = APART * 1.2


@shared_task(name="deliveries.drain")
def drain() -> None:
    """Do what is due; the message that brought us here says only that there is something."""
    with orphans.at_work:
        drain_once(SLICE, linger=LINGER)

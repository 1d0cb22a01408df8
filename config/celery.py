"""The Celery app: `celery -A config.celery worker`."""

import gc
import os
import signal
import sys

from celery import Celery
from celery.signals import worker_process_init
from kombu.transport import TRANSPORT_ALIASES

from deliveries.clockwork import Clock
from deliveries.queue import go_by_indexes

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Under kombu's own names, so that REDIS_URL stays what everybody knows.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "deliveries.listening:Transport"))

app = Celery("hookhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Celery would close the database connection before and after each task, and the first statements of a new one take a
# hundred times as long. The drain itself leaves a connection that is broken or too old. There is no "never" to set.
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize
app.autodiscover_tasks(["deliveries"])
# By its name, because its models can be imported only once Django is ready, and this module comes before.
app.steps["worker"].update({Clock, "hookhub.stream.step:StreamStep"})


@worker_process_init.connect
def leave_stopping_to_the_parent(**_: object) -> None:
    """Have a worker's child not die of a SIGTERM with requests in flight.

    A service manager tells the whole process group at once. The parent hears it too, and its clock passes the word on.
    Nothing but ignoring the signal lasts: Celery's pool replaces every handler that is set here.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@worker_process_init.connect
def settle_down_to_work(**_: object) -> None:
    """Have a worker's child do nothing twice: neither choose a plan nor look at what will never be garbage."""
    go_by_indexes()
    # All that was loaded before the fork stays for good, and a batch of deliveries is thousands of objects without one
    # cycle: the collector took a twenty-fifth of the processor's time to find nothing.
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)

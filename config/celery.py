"""The Celery app: `celery -A config.celery worker`."""

import gc
import os
import signal
import sys
from contextlib import suppress
from datetime import timedelta

from billiard import pool
from billiard.util import set_pdeathsig  # type: ignore[attr-defined]  # its stubs are older than it
from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown
from kombu.transport import TRANSPORT_ALIASES

from deliveries import orphans, warm_pool
from deliveries.clockwork import Clock
from deliveries.queue import go_by_indexes

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Under kombu's own names, so that REDIS_URL stays what everybody knows.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "deliveries.listening:Transport"))

# How long a worker's child that is to end waits for its parent to hear of the last task.
HEARD_WITHIN = timedelta(seconds=2)

app = Celery("hookhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
# Celery would close the database connection before and after each task, and the first statements of a new one take a
# hundred times as long. The drain itself leaves a connection that is broken or too old. There is no "never" to set.
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize
app.autodiscover_tasks(["deliveries"])
# By its name, because its models can be imported only once Django is ready, and this module comes before.
app.steps["worker"].update({Clock, "hookhub.stream.step:StreamStep"})


@setup_logging.connect
def leave_logging_to_django(**_: object) -> None:
    """Have LOGGING of the settings hold in workers as well.

    Where nobody says so Celery sets the root logger's level to that of its command line, whether or not it may hijack
    that logger, and the lines of the attempts were not written.
    """


@worker_process_init.connect
def leave_stopping_to_the_parent(**_: object) -> None:
    """Have a worker's child not die of a SIGTERM with requests in flight.

    A service manager tells the whole process group at once. The parent hears it too, and its clock passes the word on.
    Nothing but ignoring the signal lasts: Celery's pool replaces every handler that is set here.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@worker_process_init.connect
def outlive_the_parent_for_a_moment(**_: object) -> None:
    """Have a child whose parent is killed settle what it has in flight before it ends.

    Celery has the kernel kill it in the same moment where the system can, and what was in flight would be repeated
    when its leases run out; where it cannot, the child would go on for as long as there is something to do.
    """
    with suppress(OSError):
        set_pdeathsig(0)
    orphans.end_without_parent()


@worker_process_init.connect
def be_woken_without_redis(**_: object) -> None:
    """Have a worker's child drain when the worker's clock wakes it directly."""
    warm_pool.listen()


@worker_process_shutdown.connect
def settle_before_exit(**_: object) -> None:
    """Have a child that exits wait for a drain that the clock woke: Celery knows of its own tasks only."""
    orphans.finish_before_exit()


@worker_process_init.connect
def end_though_nobody_listens(**_: object) -> None:
    """Have a worker's child that is to end wait for a moment only until its parent has heard of the last task.

    The parent stops listening once it knows of no task in hand, and one that it gave out as it was told to stop it has
    struck out by then. The child would wait half a minute for it, and the worker for the child. Nobody needs to hear:
    what became of the deliveries is in the database.
    """
    tries = HEARD_WITHIN.total_seconds() / pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = int(tries)


@worker_process_init.connect
def settle_down_to_work(**_: object) -> None:
    """Have a worker's child do nothing twice: neither choose a plan nor look at what will never be garbage."""
    go_by_indexes()
    # All that was loaded before the fork stays for good, and a batch of deliveries is thousands of objects without one
    # cycle: the collector took a twenty-fifth of the processor's time to find nothing.
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)

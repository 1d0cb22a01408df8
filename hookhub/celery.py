"""Let the workers of a Celery app deliver: a project's own app, or the service's."""

import ctypes
import sys

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown
from django.utils.module_loading import import_string

from deliveries.worker import orphans, process_pool

# From linux/prctl.h: which signal a process gets when its parent dies.
PR_SET_PDEATHSIG = 1


def deliver_in(app: Celery) -> None:
    """Add delivery to the workers of an app, apart from those that ``-Q`` keeps from the queue HOOKHUB_QUEUE.

    Call it where the app is made. Nothing else of the app changes.
    """
    app.autodiscover_tasks(["deliveries"])
    # By name: their models can only be imported once Django is set up, which is after the app's module is loaded.
    app.steps["worker"] |= {
        "deliveries.worker.celery_steps:SchedulerStep",
        "hookhub.publishing.redis_stream.bootstep:StreamStep",
    }
    worker_process_init.connect(drain_after_parent_exit)
    worker_process_init.connect(wake_without_redis)
    worker_process_shutdown.connect(settle_before_exit)


def drain_after_parent_exit(**_: object) -> None:
    """Make a pool child settle its requests in flight, and then exit, when its parent is killed.

    On Linux, Celery makes the kernel kill the child together with its parent; the deliveries in flight would then be
    repeated once their leases expire. On other systems the child would run for as long as there is work.
    """
    if sys.platform == "linux":
        # billiard's own function loads a parser of C for that, if cffi is installed: 20 ms and 3 MB in each child.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 0)
    orphans.exit_when_orphaned()


def wake_without_redis(**_: object) -> None:
    """Make a pool child run the worker loop when the worker's scheduler wakes it through the pipe."""
    # By name, like the steps.
    process_pool.listen(import_string("deliveries.worker.draining.drain"))


def settle_before_exit(**_: object) -> None:
    """Make a pool child that exits wait for a run started through the pipe: Celery only waits for its own tasks."""
    orphans.finish_before_exit()

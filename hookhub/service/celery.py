"""The Celery app: `celery -A hookhub.service.celery worker`."""

import gc
import os
import signal
import sys
import warnings
from datetime import timedelta

from billiard import pool
from celery import Celery, platforms
from celery.apps import worker as worker_program
from celery.signals import (
    celeryd_after_setup,
    setup_logging,
    worker_before_create_process,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
)
from django.conf import settings
from django.utils.module_loading import import_string
from kombu.transport import TRANSPORT_ALIASES

from deliveries.db.sql import prefer_indexes
from hookhub.celery import deliver_in
from hookhub.service import note_loaded
from hookhub.telemetry import starting

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hookhub.service.settings")
# The system checks import all views, which doubles the start-up time and takes 20 MB; `make lint` runs them.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

# Replaces kombu's Redis transport under its own names, so that REDIS_URL keeps the usual format.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "deliveries.worker.kombu_transport:Transport"))
TRANSPORT_ALIASES["sentinel"] = "deliveries.worker.kombu_transport:SentinelTransport"

# How long a pool child that exits waits for its parent to receive the result of its last task.
MAX_EXIT_WAIT = timedelta(seconds=2)

# Celery would make the kernel kill each pool child together with its parent, which `deliver_in` undoes at once. For
# this, billiard loads a parser of C in each child, if cffi is installed.
platforms.set_pdeathsig = lambda _: None  # type: ignore[attr-defined]  # missing in its stubs

app = Celery("hookhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
# By default Celery closes the database connection before and after each task, and the first statements on a new one
# take a hundred times as long. The worker loop itself replaces connections that are broken or too old. This setting has
# no value for "never".
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize
deliver_in(app)
app.steps["worker"].add("hookhub.telemetry.bootstep:TelemetryStep")


@setup_logging.connect
def leave_logging_to_django(**_: object) -> None:
    """Do nothing, so that workers use LOGGING of the settings.

    Without a receiver of this signal, Celery sets the level of the root logger to that of its command line, even if it
    must not hijack that logger, and the attempt log is not written.
    """


@celeryd_after_setup.connect
def leave_out_advice(**_: object) -> None:
    """Do not log what Celery advises whenever Redis is lost, in ten lines: to set what the settings have set."""
    warnings.filterwarnings("ignore", message=r"\s*In Celery 5.1 we introduced an optional breaking change")


@worker_init.connect
def collect_garbage(**_: object) -> None:
    """Let the garbage collector run once the worker has loaded its tasks."""
    note_loaded()


@worker_before_create_process.connect
def spare_what_is_loaded(**_: object) -> None:
    """Let Celery, which collects garbage before it forks each pool child, not search all that was loaded."""
    gc.freeze()


@worker_init.connect
def log_as_json(**_: object) -> None:
    """Make a worker write what it says of its shutdown, which Celery does not log, in the format of its logs."""
    if settings.HOOKHUB_LOG_FORMAT == "json":
        worker_program.safe_say = import_string("hookhub.telemetry.logs.write_line")  # type: ignore[attr-defined]  # no stub


@worker_process_init.connect
def ignore_sigterm(**_: object) -> None:
    """Make a pool child ignore SIGTERM, so that it does not die with requests in flight.

    A service manager signals the whole process group. The parent receives the signal too, and its scheduler step
    requests shutdown. Ignoring is the only disposition that persists: Celery's pool replaces any handler set here.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@worker_process_init.connect
def limit_exit_wait(**_: object) -> None:
    """Limit how long a pool child that exits waits until its parent has received the result of its last task.

    The parent stops reading results once it knows of no active task, and it has already dropped a task dispatched while
    it was shutting down. The child would then wait for half a minute, and the worker for the child. The result is not
    needed, because the outcomes of the deliveries are in the database.
    """
    tries = MAX_EXIT_WAIT.total_seconds() / pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = int(tries)


@worker_process_init.connect
def plan_with_indexes(**_: object) -> None:
    """Make a pool child's database sessions plan queries with indexes."""
    prefer_indexes()


@worker_process_init.connect
def start_telemetry(**_: object) -> None:
    """Make a pool child keep metrics and the like of its own; the parent serves them."""
    starting.start("worker", serves=False)


@worker_process_shutdown.connect
def stop_telemetry(**_: object) -> None:
    """Make a pool child that exits send its last spans, once it has settled."""
    starting.stop()


@worker_process_init.connect
def freeze_gc(**_: object) -> None:
    """Make a pool child run the garbage collector rarely.

    Objects loaded before the fork live forever, and a batch of deliveries consists of thousands of objects without a
    reference cycle: with the defaults, the collector takes 4 % of CPU time and finds nothing.
    """
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)

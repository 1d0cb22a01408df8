"""What runs the scheduler in a worker of Celery, and keeps its pool of processes alive while Redis is away."""

from functools import partial
from typing import Any

from billiard import get_start_method
from celery import bootsteps
from celery.concurrency import prefork
from celery.worker.consumer import Consumer
from django.conf import settings

from deliveries.worker import process_pool, residency
from deliveries.worker.draining import drain
from deliveries.worker.scheduler import Scheduler

# Celery's own retry interval grows to half a minute; that long a worker would not notice that Redis is back.
RETRY_SECONDS = {"interval_start": 1, "interval_step": 1, "interval_max": 2}


class SchedulerStep(bootsteps.StartStopStep):
    """Runs the scheduler in the worker's parent process.

    It must start after the pool and therefore stop before it: the pool waits for its children, which continue sending
    until shutdown is requested.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        # The pool's processes are forked later.
        self.scheduler = Scheduler()

    def include_if(self, worker: Any) -> bool:
        """Return whether this worker consumes the queue of wake-ups: by default, or because ``-Q`` says so."""
        queues, name = worker.app.amqp.queues, settings.HOOKHUB_QUEUE
        is_free_to_choose = queues._consume_from is None  # noqa: SLF001 - nothing else tells whether there was a ``-Q``
        if is_free_to_choose and name not in queues.consume_from:
            queues.select_add(name)
        return name in queues.consume_from

    def start(self, worker: Any) -> None:
        """Start the scheduler."""
        self.configure_pool(worker)
        self.scheduler.start()

    def configure_pool(self, worker: Any) -> None:
        """Keep the pool alive and ready to be woken without Redis; without forked processes, run the loop here."""
        if not are_forked(worker.pool):
            self.scheduler.runs_loop_here = True
            # A loop that stayed would keep the worker's only process from stopping.
            residency.close_seat()
            process_pool.listen(drain)
            return
        self.scheduler.processes = worker.pool.num_processes
        # Replace a child that dies before the first connection to Redis like any other; Celery would exit the worker.
        worker.pool.did_start_ok = lambda: True
        if worker.hub is not None:
            # Celery does this only after connecting to Redis; until then it could not replace a child.
            worker.pool.register_with_event_loop(worker.hub)

    def stop(self, worker: Any) -> None:
        """Stop the scheduler."""
        self.scheduler.stop()

    def terminate(self, worker: Any) -> None:
        """Stop the scheduler without waiting for requests in flight."""
        self.scheduler.terminate()


def are_forked(pool: Any) -> bool:
    """Return whether a worker's tasks run in processes forked from it, which inherit the pipe."""
    return isinstance(pool, prefork.TaskPool) and get_start_method() == "fork"


class PoolKeepingConsumer(Consumer):
    """Celery's consumer, except that it replaces dead pool processes also while it waits for Redis.

    Celery does so in its event loop, which does not run until Redis is connected.
    """

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, retrying forever; meanwhile, dead pool processes are replaced once a second."""
        conn.ensure_connection = partial(self._connect, conn.ensure_connection)
        return super().ensure_connected(conn)

    def _connect(self, ensure_connection: Any, errback: Any, max_retries: Any, *, callback: Any) -> Any:
        def wait() -> None:
            callback()
            if hasattr(self.pool, "maintain_pool"):
                self.pool.maintain_pool()

        return ensure_connection(errback, max_retries, callback=wait, **RETRY_SECONDS)

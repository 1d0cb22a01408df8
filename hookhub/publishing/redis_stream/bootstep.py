"""A Celery bootstep that reads the stream in every worker's parent process."""

from typing import Any

from celery import bootsteps
from django.conf import settings

from hookhub.publishing.redis_stream.thread import StreamThread


class StreamStep(bootsteps.StartStopStep):
    """Reads the stream until the worker stops."""

    # Start after the pool, so that its children do not inherit our connections, and stop before it.
    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._thread = StreamThread()

    def include_if(self, worker: Any) -> bool:
        """Return whether publishing through Redis is enabled."""
        return bool(settings.HOOKHUB_STREAM)

    def start(self, worker: Any) -> None:
        """Start the reader's thread."""
        self._thread.start()

    def stop(self, worker: Any) -> None:
        """Finish the current batch and stop the thread."""
        self._thread.stop()

    def terminate(self, worker: Any) -> None:
        """Do the same on an immediate shutdown."""
        self._thread.stop()

"""A Celery bootstep that starts metrics and the like in a worker's parent process."""

from typing import Any

from celery import bootsteps

from hookhub.telemetry import starting


class TelemetryStep(bootsteps.StartStopStep):
    """Starts after the pool, so that its first children do not inherit the socket and the threads."""

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        """Start what is switched on."""
        starting.start("scheduler")

    def stop(self, worker: Any) -> None:
        """Send what waits."""
        starting.stop()

"""The Celery task that runs the worker loop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from celery import shared_task

from deliveries.worker import draining


@shared_task(name="deliveries.drain")
def drain() -> None:
    """Run the worker loop; the message itself carries no data."""
    with _sigterm_ignored():
        draining.drain()


@contextmanager
def _sigterm_ignored() -> Iterator[None]:
    """Survive a SIGTERM that a service manager sends to all processes of a worker: its parent requests shutdown."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous if previous is not None else signal.SIG_DFL)

"""The Celery app with a mutation applied: `celery -A chaos.celery worker`, started by the fault harness only."""

import faulthandler
import signal

from chaos import bugs

bugs.set_clock_wrong()
# Lets the harness dump the threads of a process that does not stop in time; children inherit it.
faulthandler.register(signal.SIGUSR2)

import django  # noqa: E402 - every import must see the wrong clock

from config.celery import app  # noqa: E402

django.setup()
bugs.prove_clock_wrong()
bugs.apply()

__all__ = ["app"]

"""The Celery app with a fault built in: `celery -A chaos.celery worker`, started by the fault harness only."""

import faulthandler
import signal

from chaos import bugs

bugs.set_clock_wrong()
# For whoever does not stop in time; inherited by the children.
faulthandler.register(signal.SIGUSR2)

import django  # noqa: E402 - whatever is imported has to meet the wrong clock

from config.celery import app  # noqa: E402

django.setup()
bugs.prove_clock_wrong()
bugs.apply()

__all__ = ["app"]

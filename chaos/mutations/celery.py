"""The Celery app with a mutation applied: `celery -A chaos.mutations.celery worker`."""

import faulthandler
import signal

from chaos.mutations import patches

patches.set_clock_wrong()
# Lets the harness dump the threads of a process that does not stop in time; children inherit it.
faulthandler.register(signal.SIGUSR2)

import django  # noqa: E402 - every import must see the wrong clock

from config.celery import app  # noqa: E402

django.setup()
patches.prove_clock_wrong()
patches.apply()

__all__ = ["app"]

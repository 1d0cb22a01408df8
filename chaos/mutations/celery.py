"""The Celery app with a mutation applied: `celery -A chaos.mutations.celery worker`."""

import faulthandler
import signal

from chaos.mutations import clock, pace, patches

clock.set_clock_wrong()
# Lets the harness dump the threads of a process that does not stop in time; children inherit it.
faulthandler.register(signal.SIGUSR2)

import django

from hookhub.service.celery import app

django.setup()
clock.prove_clock_wrong()
pace.set_pace()
patches.apply()

__all__ = ["app"]

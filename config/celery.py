"""The Celery app: `celery -A config.celery worker`."""

import os
import signal

from celery import Celery
from celery.signals import worker_process_init

from deliveries import stopping
from deliveries.clockwork import Clock

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("hookhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["deliveries"])
app.steps["worker"].add(Clock)


@worker_process_init.connect
def finish_what_is_in_flight(**_: object) -> None:
    """Have a worker's child that is told to stop begin nothing new, and not die with requests in flight.

    A service manager tells the whole process group at once, and Celery's children would otherwise obey on the spot.
    """
    signal.signal(signal.SIGTERM, lambda *_: stopping.set_stopping())

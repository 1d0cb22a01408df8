"""The Celery app: `celery -A config.celery worker`."""

import os

from celery import Celery

from deliveries.clockwork import Clock

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("hookhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["deliveries"])
app.steps["worker"].add(Clock)

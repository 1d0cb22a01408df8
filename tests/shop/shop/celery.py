"""The shop's Celery app, whose workers deliver, too."""

import os

from celery import Celery

from hookhub.celery import deliver_in

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
deliver_in(app)

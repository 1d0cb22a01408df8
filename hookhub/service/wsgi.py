"""The WSGI entry point, for servers other than the Procfile's, such as `gunicorn hookhub.service.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hookhub.service.settings")

django = get_wsgi_application()

from django.conf import settings
from django.urls import get_resolver

from hookhub.cache_invalidation import listening
from hookhub.server.limits import Limits
from hookhub.server.prefix import mounted
from hookhub.server.wsgi import Limited
from hookhub.service import note_loaded
from hookhub.telemetry import starting

# Before a server forks its processes, so that all share what this loads, and no first request has to wait for it.
get_resolver().url_patterns  # noqa: B018 - It loads them.

application = mounted(
    Limited(
        listening(django),
        limits=Limits(publish=settings.HOOKHUB_REQUEST_LIMIT),
        responded=starting.response_observer(),
    ),
    prefix=settings.FORCE_SCRIPT_NAME or "",
)
note_loaded()

"""The ASGI entry point of the web server: `python -m hookhub.server hookhub.service.asgi:application`."""

import gc
from collections.abc import Mapping
from typing import Any

# It sets up Django, which the others need.
from hookhub.service.wsgi import django  # isort: split

from django.conf import settings

from deliveries.sending.sender import allow_many_files
from hookhub.cache_invalidation import listening
from hookhub.http.client_address import address_of, subject_of
from hookhub.http.readiness import ready, unavailable
from hookhub.publishing.publish import GroupStore
from hookhub.server.admission import refusal_of_caller
from hookhub.server.body import Budget
from hookhub.server.front import Front
from hookhub.server.group_commit import GroupCommit
from hookhub.server.health import Readiness
from hookhub.server.intake import EventIntake
from hookhub.server.limits import Limits
from hookhub.server.lock_waits import LockWaits
from hookhub.server.pool import Pool, Turn
from hookhub.server.prefix import mounted_front
from hookhub.telemetry import starting


def turn_of(environ: Mapping[str, Any]) -> Turn:
    """Return the queueing key of a request that waits for a thread: its client's address and its credentials."""
    credentials = environ.get("HTTP_AUTHORIZATION") or environ.get("HTTP_X_API_KEY") or environ.get("HTTP_COOKIE", "")
    return Turn(subject_of(address_of(environ)), credentials)


def prepare() -> None:
    """Start metrics and the like, let this process open many files, and never search what was loaded for garbage."""
    starting.start("web")
    allow_many_files()
    gc.freeze()


pool = Pool(threads=settings.WEB_THREADS, max_waiting=settings.HOOKHUB_WEB_QUEUE)
store = GroupStore()
front = Front(
    listening(django),
    limits=Limits(
        publish=settings.HOOKHUB_REQUEST_LIMIT,
        deadline=settings.HOOKHUB_BODY_TIMEOUT,
        min_rate=settings.HOOKHUB_BODY_MIN_RATE,
    ),
    pool=pool,
    # Enough for four bodies of the maximum size at a time; reading more of them at once would gain nothing.
    budget=Budget(4 * settings.HOOKHUB_REQUEST_LIMIT),
    readiness=Readiness(ready, otherwise=unavailable()),
    admit=refusal_of_caller,
    turn_of=turn_of,
    prepare=prepare,
    intake=EventIntake(
        pool=pool,
        groups=GroupCommit(store, max_waiting=settings.HOOKHUB_WEB_QUEUE),
        lock_waits=LockWaits(store.alone, max_waiting=settings.HOOKHUB_WEB_QUEUE),
        turn_of=turn_of,
    ),
    responded=starting.response_observer(),
    finish=starting.stop,
)
application = mounted_front(front, prefix=settings.FORCE_SCRIPT_NAME or "")

"""Whether this deployment can accept events, and whether any worker is there to deliver them: what `/readyz` says."""

import logging
from typing import Any

from django.db import Error, connection

from deliveries import queue, workers

log = logging.getLogger("hookhub.api")


def live() -> tuple[int, dict[str, Any]]:
    """Return the status and the body of `/healthz`: this process answers."""
    return 200, {"status": "ok"}


def ready() -> tuple[int, dict[str, Any]]:
    """Return the status and the body of `/readyz`: events need a database that can be written to, and nothing else.

    Without a worker events are stored and wait, so that is a warning and no reason to take a web server out of service.
    """
    try:
        queue.require_writable()
    except Error as error:
        # Out of the way, so that the next look begins with a new connection.
        connection.close()
        log.warning("No events can be accepted: %s", error)
        return unavailable()
    return 200, {"status": "ok", **report_on_workers()}


def unavailable() -> tuple[int, dict[str, Any]]:
    """Return what `/readyz` says while the database does not answer, or takes no events."""
    return 503, {"status": "unavailable", "reason": "the database does not answer, or takes no events"}


def report_on_workers() -> dict[str, Any]:
    """Return how many workers live and when any was heard of last, with a warning when none lives."""
    try:
        found = workers.seen(now=queue.database_now())
    except Error as error:
        # Events can be stored all the same, and this is not the place where a database that just went away is noticed.
        connection.close()
        log.warning("The workers could not be counted: %s", error)
        return {"workers": None}
    seen_at = found.seen_at.isoformat() if found.seen_at else None
    report: dict[str, Any] = {"workers": {"alive": found.alive, "seen_at": seen_at}}
    if found.alive:
        return report
    since = f"No worker is running; the last one was heard of at {seen_at}." if seen_at else "No worker has run yet."
    return {**report, "warning": f"{since} Events are stored and wait: start a worker with `manage.py run worker`."}

"""Deletes the sessions of logins that have ended, which Django leaves to a command of its own."""

from datetime import datetime

from django.contrib.sessions.models import Session

# How many one tick deletes. A login by a provider begins a session before it is known who logs in.
PRUNE_BATCH = 1000


def prune_ended(*, now: datetime) -> int:
    """Delete up to PRUNE_BATCH sessions that have ended; return how many."""
    ended = Session.objects.filter(expire_date__lt=now).order_by("expire_date")
    keys = list(ended.values_list("pk", flat=True)[:PRUNE_BATCH])
    return Session.objects.filter(pk__in=keys).delete()[0] if keys else 0

"""Command-line arguments of API keys: expiry, allowed networks and the overlap of the old secret."""

from datetime import UTC, datetime, timedelta

from django.core.management.base import CommandError
from django.utils.dateparse import parse_datetime

from hookhub import api_keys
from hookhub.http import networks

# Longer than any key is used, and short enough for every date to be representable.
MAX_DAYS = 36_500


def expiry(*, days: int | None, at: str | None, now: datetime) -> datetime | None:
    """Return a key's expiry from ``--expires-in`` or ``--expires-at``, or None without either; raise CommandError."""
    if days is not None:
        if not 1 <= days <= MAX_DAYS:
            raise CommandError(f"--expires-in: must be from 1 to {MAX_DAYS} days.")
        return now + timedelta(days=days)
    if at is None:
        return None
    try:
        # RFC 3339 allows T and Z in lower case, too.
        found = parse_datetime(at.upper())
        if found is not None:
            # Conversion to UTC can overflow in the last hours of the last year.
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise CommandError(f"--expires-at: must be a time such as 2027-01-31T12:00:00Z, not {at[:100]!r}.")
    error = api_keys.expiry_error(found, now=now)
    if error:
        raise CommandError(f"--expires-at: {error}.")
    return found


def allowed_networks(given: list[str]) -> list[str]:
    """Return the networks from ``--network`` in canonical notation; raise CommandError."""
    try:
        return networks.normalized(given)
    except networks.InvalidNetworks as error:
        raise CommandError(f"--network: {error}.") from error


def overlap(seconds: int | None) -> timedelta | None:
    """Return how long the old secret stays valid, or None for the setting's default; raise CommandError."""
    if seconds is None:
        return None
    if not 0 <= seconds <= api_keys.MAX_OVERLAP.total_seconds():
        raise CommandError(f"--overlap: must be from 0 to {int(api_keys.MAX_OVERLAP.total_seconds())} seconds.")
    return timedelta(seconds=seconds)

"""The default for ids of rows that are created outside the pipeline."""

from deliveries import timezone
from deliveries.db.ids import uuid7


def new_id() -> object:
    """Return a new id (UUIDv7) for a row that is created outside the pipeline."""
    return uuid7(timezone.now())

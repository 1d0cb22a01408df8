"""Whether the database is unavailable, and when to try it again; times are in seconds of a monotonic clock."""

from datetime import timedelta

# The delay between two tries after a database error.
DB_RETRY_DELAY = timedelta(seconds=0.5)


class Outage:
    """Decides when to try an unavailable database again."""

    def __init__(self) -> None:
        self._retry_at = 0.0
        # Since when no results could be settled; None if the last ones were.
        self._unsettled_since: float | None = None

    @property
    def is_unsettled(self) -> bool:
        """Whether settling failed last time, so that it is unknown whether the database has those results."""
        return self._unsettled_since is not None

    def is_waiting(self, *, now: float) -> bool:
        """Return whether to leave the database alone for now."""
        return now < self._retry_at

    def failed(self, *, now: float) -> None:
        """Try again in a moment."""
        self._retry_at = now + DB_RETRY_DELAY.total_seconds()

    def settling_failed(self, *, now: float) -> None:
        """Try again in a moment, and remember since when no results could be settled."""
        if self._unsettled_since is None:
            self._unsettled_since = now
        self.failed(now=now)

    def settled(self) -> None:
        """Note that results could be settled."""
        self._unsettled_since = None

    def has_lasted(self, span: timedelta, *, now: float) -> bool:
        """Return whether no results could be settled for ``span``."""
        return self._unsettled_since is not None and now - self._unsettled_since >= span.total_seconds()

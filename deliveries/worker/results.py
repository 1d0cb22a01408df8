"""Results that are not settled yet, and when to settle them; times are in seconds of a monotonic clock."""

from datetime import timedelta

from deliveries.pipeline.attempting import AttemptResult

# Results are settled in batches: of this size, or after this time, whichever comes first.
SETTLE_BATCH = 250
SETTLE_WITHIN = timedelta(milliseconds=30)


class ResultBuffer:
    """The results of one worker loop that are not settled yet."""

    def __init__(self) -> None:
        self.unsettled: list[AttemptResult] = []
        self._since = 0.0
        # When to settle the results that were deferred because another worker had locked their webhook.
        self._retry_deferred_at = 0.0

    def add(self, result: AttemptResult, *, now: float) -> None:
        """Add the result of an attempt that has ended."""
        if not self.unsettled:
            self._since = now
        self.unsettled.append(result)

    def is_due(self, *, in_flight: int, now: float) -> bool:
        """Return whether to settle now: the batch is full or old enough, or no request in flight can add to it."""
        if not self.unsettled or now < self._retry_deferred_at:
            return False
        is_old = now - self._since >= SETTLE_WITHIN.total_seconds()
        return is_old or len(self.unsettled) >= SETTLE_BATCH or not in_flight

    def settled(self, deferred: list[AttemptResult], *, now: float) -> None:
        """Remove the results, which are settled, except those that were deferred."""
        self.unsettled = deferred
        if deferred:
            self._retry_deferred_at = now + SETTLE_WITHIN.total_seconds()

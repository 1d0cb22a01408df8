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

    def is_due(self, *, is_urgent: bool, now: float) -> bool:
        """Return whether to settle now: the batch is full or old enough, or that ``is_urgent``."""
        if not self.unsettled or now < self._retry_deferred_at:
            return False
        return is_urgent or len(self.unsettled) >= SETTLE_BATCH or now >= self._since + SETTLE_WITHIN.total_seconds()

    def due_in(self, *, now: float) -> float:
        """Return in how many seconds the results are old enough to be settled."""
        return max(self._since + SETTLE_WITHIN.total_seconds(), self._retry_deferred_at) - now

    def settled(self, deferred: list[AttemptResult], *, now: float) -> None:
        """Remove the results, which are settled, except those that were deferred."""
        self.unsettled = deferred
        if deferred:
            self._retry_deferred_at = now + SETTLE_WITHIN.total_seconds()

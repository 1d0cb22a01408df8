"""Slot accounting of one sender: slow receivers share a bounded fraction of the slots, fast ones may use all others."""

from deliveries.pipeline.capacity import SLOW_FROM, Capacity
from deliveries.pipeline.claims import Claim

# All slow receivers together may use this part (1/SLOW_FRACTION) of the slots, but at least one slot.
SLOW_FRACTION = 4
# A stalled request, in flight for SLOW_FROM or longer, does not count against the slots, so that a receiver that
# suddenly hangs takes none from the others. In all there may be this many requests per slot.
OVERCOMMIT = 2


class SlotTracker:
    """The requests of one sender in flight, oldest first; times are in seconds of a monotonic clock.

    A request that waits for its turn takes no slot from the others, as long as there are not more of these in all.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        # Keyed by identity, because comparing claims compares all of their fields, including payloads.
        self._started: dict[int, tuple[float, Claim]] = {}
        self._slow = 0
        self._waiting = 0

    def wait(self, claim: Claim) -> None:
        """Count a request that waits for its turn."""
        self._waiting += 1
        self._slow += claim.destination.slow

    def end_wait(self, claim: Claim) -> None:
        """Remove a request that waits no longer."""
        self._waiting -= 1
        self._slow -= claim.destination.slow

    def start(self, claim: Claim, *, now: float) -> None:
        """Count a request that has been started."""
        self._started[id(claim)] = (now, claim)
        self._slow += claim.destination.slow

    def end(self, claim: Claim) -> None:
        """Remove a request that has ended."""
        if self._started.pop(id(claim), None):
            self._slow -= claim.destination.slow

    def capacity(self, at_most: int, *, now: float) -> Capacity:
        """Return the free capacity: up to ``at_most`` slots."""
        stalled = self._stalled(since=now - SLOW_FROM.total_seconds())
        unexpectedly_slow = sum(not claim.destination.slow for claim in stalled)
        in_flight = len(self._started)
        unused = min(OVERCOMMIT * self.total - in_flight, at_most) - self._waiting
        free = min(self.total - (in_flight - len(stalled)), unused)
        return Capacity(
            slots=max(free, 0),
            slow_slots=max(max(self.total // SLOW_FRACTION, 1) - self._slow - unexpectedly_slow, 0),
            stalled_webhooks=sorted({claim.destination.webhook_id for claim in stalled}),
        )

    def _stalled(self, *, since: float) -> list[Claim]:
        """Return the requests started at ``since`` or earlier, which are the first in order."""
        found = []
        for started_at, claim in self._started.values():
            if started_at > since:
                break
            found.append(claim)
        return found

"""Slot accounting of one sender: slow receivers share a bounded fraction of the slots, fast ones may use all others."""

from deliveries.pipeline.capacity import SLOW_FROM, Capacity
from deliveries.pipeline.claiming import Claim

# All slow receivers together may use this part (1/SLOW_SHARE) of the slots, but at least one slot.
SLOW_FRACTION = 4
# A stalled request, in flight for SLOW_FROM or longer, does not count against the slots, so that a receiver that
# suddenly hangs takes none from the others. In all there may be this many requests per slot.
OVERCOMMIT = 2


class SlotTracker:
    """The requests of one sender in flight, oldest first; times are in seconds of a monotonic clock."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        # Keyed by identity, because comparing claims compares all of their fields, including payloads.
        self._begun: dict[int, tuple[float, Claim]] = {}
        self._slow = 0

    def begin(self, claim: Claim, *, at: float) -> None:
        """Count a request that has been started."""
        self._begun[id(claim)] = (at, claim)
        self._slow += claim.destination.slow

    def end(self, claim: Claim) -> None:
        """Remove a request that has ended."""
        if self._begun.pop(id(claim), None):
            self._slow -= claim.destination.slow

    def wanted(self, *, at: float) -> Capacity:
        """Return the free capacity."""
        stalled_webhooks = self._stalled(since=at - SLOW_FROM.total_seconds())
        unexpected = sum(not claim.destination.slow for claim in stalled_webhooks)
        room = min(self.slots - (len(self._begun) - len(stalled_webhooks)), OVERCOMMIT * self.slots - len(self._begun))
        return Capacity(
            slots=max(room, 0),
            slow_slots=max(max(self.slots // SLOW_FRACTION, 1) - self._slow - unexpected, 0),
            stalled_webhooks=sorted({claim.destination.webhook_id for claim in stalled_webhooks}),
        )

    def _stalled(self, *, since: float) -> list[Claim]:
        """Return the requests started at ``since`` or earlier, which are the first in order."""
        found = []
        for begun_at, claim in self._begun.values():
            if begun_at > since:
                break
            found.append(claim)
        return found

"""The lanes of a worker's sender: prompt receivers have the slots to themselves, slow ones share a bounded part."""

from deliveries.claiming import SLOW_FROM, Claim, Wanted

# Of all slots, those that receivers known to be slow may have between them; one of very few.
SLOW_SHARE = 4
# A request that has been in flight for longer than its like gives its slot back, so that a receiver that suddenly hangs
# takes none from the others; so many requests there may be in all for each slot.
IN_ALL = 2


class Lanes:
    """What one sender has in flight, oldest first; times are seconds of a monotonic clock."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        # By identity: to compare claims means to compare all that is in them.
        self._begun: dict[int, tuple[float, Claim]] = {}
        self._slow = 0

    def begin(self, claimed: Claim, *, at: float) -> None:
        """Note that a request is on its way."""
        self._begun[id(claimed)] = (at, claimed)
        self._slow += claimed.to.slow

    def end(self, claimed: Claim) -> None:
        """Note that it is over."""
        if self._begun.pop(id(claimed), None):
            self._slow -= claimed.to.slow

    def wanted(self, *, at: float) -> Wanted:
        """Say what there is room for."""
        lagging = self._lagging(since=at - SLOW_FROM.total_seconds())
        unexpected = sum(not claimed.to.slow for claimed in lagging)
        room = min(self.slots - (len(self._begun) - len(lagging)), IN_ALL * self.slots - len(self._begun))
        return Wanted(
            limit=max(room, 0),
            slow_room=max(max(self.slots // SLOW_SHARE, 1) - self._slow - unexpected, 0),
            lagging=sorted({claimed.to.webhook_id for claimed in lagging}),
        )

    def _lagging(self, *, since: float) -> list[Claim]:
        """Give those in flight since before that; they stand in front."""
        found = []
        for begun_at, claimed in self._begun.values():
            if begun_at > since:
                break
            found.append(claimed)
        return found

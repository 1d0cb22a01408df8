"""How many events of one repository are fanned out before the next repository's turn."""

import pytest

from deliveries.pipeline.fanning_out import EVENTS_PER_PARTITION, events_per_partition

# label: (limit, free slots, events per turn)
CASES = {
    "as many events as slots": (128, 128, EVENTS_PER_PARTITION),
    "more events than slots": (32, 5, EVENTS_PER_PARTITION),
    "no slots": (500, 0, EVENTS_PER_PARTITION),
    "each event for two": (64, 128, EVENTS_PER_PARTITION // 2),
    "each event for ten": (12, 128, 1),
    "one event, and unknown webhooks": (1, 128, 1),
    "one event and one slot": (1, 1, EVENTS_PER_PARTITION),
}


@pytest.mark.parametrize(("limit", "slots", "turns"), CASES.values(), ids=CASES)
def test_fewer_events_of_a_partition_are_taken_the_more_webhooks_each_matches(
    limit: int, slots: int, turns: int
) -> None:
    assert events_per_partition(limit, slots=slots) == turns

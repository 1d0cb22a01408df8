"""How many events of one repository are fanned out before the next repository's turn."""

import pytest

from deliveries.pipeline.fanning_out import TURNS, turns_of

# label: (limit, free slots, events per turn)
CASES = {
    "as many events as there is room for": (128, 128, TURNS),
    "more events than there is room for": (32, 5, TURNS),
    "no room at all": (500, 0, TURNS),
    "each event for two": (64, 128, TURNS // 2),
    "each event for ten": (12, 128, 1),
    "one event for nobody knows how many": (1, 128, 1),
    "one event and room for one": (1, 1, TURNS),
}


@pytest.mark.parametrize(("limit", "room", "turns"), CASES.values(), ids=CASES)
def test_turns_are_shorter_the_more_webhooks_an_event_goes_to(limit: int, room: int, turns: int) -> None:
    assert turns_of(limit, room=room) == turns

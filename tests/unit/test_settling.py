"""Which results of a batch are settled, and which wait until another worker has unlocked their webhook."""

from datetime import timedelta

import pytest

from deliveries.pipeline.settling import split_locked
from tests.unit.made_up import NOW, a_reply, a_result

DEADLINE = NOW + timedelta(seconds=20)
EARLIER, LATER = DEADLINE - timedelta(microseconds=1), DEADLINE + timedelta(microseconds=1)

# label: (webhook and end of the lease of each result, whether this transaction got the locks, settled, deferred)
CASES = {
    "nothing to lock": ([(1, LATER), (2, LATER)], {}, [0, 1], []),
    "locked by this transaction": ([(1, LATER)], {1: True}, [0], []),
    "locked by another": ([(1, LATER)], {1: False}, [], [0]),
    "locked by another, and no time left": ([(1, DEADLINE), (1, EARLIER)], {1: False}, [0, 1], []),
    "some of each, in order": (
        [(1, LATER), (2, LATER), (1, EARLIER), (3, LATER), (1, LATER)], {1: False, 2: True}, [1, 2, 3], [0, 4],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("leases", "locked", "settled", "deferred"), CASES.values(), ids=CASES)
def test_a_result_waits_for_a_locked_webhook_as_long_as_its_lease_allows(
    leases: list[tuple[int, object]], locked: dict[int, bool], settled: list[int], deferred: list[int]
) -> None:
    results = [a_result(a_reply(500), webhook_id=webhook, leased_until=until) for webhook, until in leases]

    assert split_locked(results, locked, deadline=DEADLINE) == (settled, deferred)

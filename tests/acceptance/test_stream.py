"""Events published through Redis arrive exactly once each, although the worker that reads them is killed repeatedly."""

import json
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest
from redis import Redis

from hookhub.client import Event
from hookhub.embedded import servers, service
from hookhub.stream_client import DEFAULT_STREAM, StreamPublisher
from tests.acceptance.crew import Crew, prepared_home, wait_until
from tests.receiver import Receiver

pytestmark = pytest.mark.acceptance

KILLS = 3
# So many that a kill hits the worker in the middle, although it comes as soon as entries are pending.
AT_ONCE = 1500


@pytest.fixture
def crew() -> Iterator[Crew]:
    # A short lease, so that the entries of a killed worker are soon claimed again.
    with prepared_home() as home, Crew(
        home, HOOKHUB_LEASE="4", HOOKHUB_TIMEOUT="2", HOOKHUB_MAX_IN_FLIGHT="50"
    ) as running:  # fmt: skip
        yield running


def test_workers_killed_with_entries_in_hand_lose_nothing_and_publish_nothing_twice(
    crew: Crew, receiver: Receiver
) -> None:
    crew.client.webhooks.create(receiver.url(), events=["*"])
    redis = Redis.from_url(servers.redis_url(crew.home))
    expected = orphaned = 0

    def in_hand() -> int:
        return int(redis.xpending(DEFAULT_STREAM, "hookhub")["pending"])  # type: ignore[index, call-overload]

    def hold_with_entries_in_hand() -> None:
        """Suspend the worker between reading a batch and deleting it from the stream."""
        worker = psutil.Process(crew.running["worker"].pid)
        while redis.xlen(DEFAULT_STREAM):
            worker.suspend()
            if in_hand():
                return
            worker.resume()

    with StreamPublisher(servers.redis_url(crew.home)) as hookhub:
        hookhub.publish("push", "the first")
        wait_until(lambda: crew.states() == {"delivered": 1}, "the first event")
        for kill in range(KILLS):
            hookhub.publish_batch(Event("push", [kill, "helper", number]) for number in range(AT_ONCE // 2))
            # Like any other program: without the client, and with no id except the entry's.
            with redis.pipeline(transaction=False) as writing:
                for number in range(AT_ONCE // 2):
                    writing.xadd(
                        DEFAULT_STREAM, {"event": json.dumps({"type": "push", "data": [kill, "xadd", number]})}
                    )
                writing.execute()
            expected += AT_ONCE // 2 * 2
            hold_with_entries_in_hand()
            crew.kill("worker")
            orphaned += in_hand()
            crew.start("worker")
        redis.xadd(DEFAULT_STREAM, {"event": '{"type":"push"}'})

    wait_until(lambda: redis.xlen(DEFAULT_STREAM) == 0, "the stream to be empty")
    wait_until(lambda: crew.states() == {"delivered": expected + 1}, "every delivery")
    assert orphaned
    arrived = Counter(request.body for request in list(receiver.received))
    assert len(arrived) == expected + 1
    assert "1 dead-lettered" in service.run("stream", environment=crew.environment)
    assert "data: is required" in service.run("stream", "refused", environment=crew.environment)
    crew.check_ledger()
    code = crew.stop("worker")
    assert code == 0
    assert redis.xinfo_consumers(DEFAULT_STREAM, "hookhub") != []
    redis.close()

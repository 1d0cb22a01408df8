"""Events published through Redis arrive exactly once each, although the worker that reads them is killed repeatedly."""

import json
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest
from redis import Redis

from hookhub.client import Event
from hookhub.embedded import service
from hookhub.stream_client import DEFAULT_STREAM, StreamPublisher
from testbed.instance import Instance
from testbed.processes import wait_for
from tests.acceptance.instances import running_instance
from tests.receiver import Receiver

pytestmark = pytest.mark.acceptance

KILLS = 3
# So many that a kill hits the worker in the middle, although it comes as soon as entries are pending.
AT_ONCE = 1500


@pytest.fixture
def instance() -> Iterator[Instance]:
    # A short lease, so that the entries of a killed worker are soon claimed again.
    with running_instance(HOOKHUB_LEASE="4", HOOKHUB_TIMEOUT="2", HOOKHUB_MAX_IN_FLIGHT="50") as running:
        yield running


def test_workers_killed_with_entries_in_hand_lose_nothing_and_publish_nothing_twice(
    instance: Instance, receiver: Receiver
) -> None:
    instance.client.webhooks.create(receiver.url(), events=["*"])
    redis = Redis.from_url(instance.servers.redis_url)
    expected = orphaned = 0

    def in_hand() -> int:
        return int(redis.xpending(DEFAULT_STREAM, "hookhub")["pending"])  # type: ignore[index, call-overload]

    def hold_with_entries_in_hand() -> None:
        """Suspend the worker between reading a batch and deleting it from the stream."""
        worker = psutil.Process(instance.running["worker"].pid)
        while redis.xlen(DEFAULT_STREAM):
            worker.suspend()
            if in_hand():
                return
            worker.resume()

    with StreamPublisher(instance.servers.redis_url) as hookhub:
        hookhub.publish("push", "the first")
        wait_for(lambda: instance.states() == {"delivered": 1}, "the first event")
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
            instance.kill("worker")
            orphaned += in_hand()
            instance.start("worker")
        redis.xadd(DEFAULT_STREAM, {"event": '{"type":"push"}'})

    wait_for(lambda: redis.xlen(DEFAULT_STREAM) == 0, "the stream to be empty")
    wait_for(lambda: instance.states() == {"delivered": expected + 1}, "every delivery")
    assert orphaned
    arrived = Counter(request.body for request in list(receiver.received))
    assert len(arrived) == expected + 1
    assert "1 dead-lettered" in service.run("stream", environment=instance.environment)
    assert "data: is required" in service.run("stream", "refused", environment=instance.environment)
    instance.check_ledger()
    code = instance.stop("worker")
    assert code == 0
    assert redis.xinfo_consumers(DEFAULT_STREAM, "hookhub") != []
    redis.close()

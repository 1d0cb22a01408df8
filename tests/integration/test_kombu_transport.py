"""A worker that consumes wake-up messages while Redis loses data, rejects commands or goes away."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from kombu import Connection, Consumer, Exchange, Message, Queue
from pytest_django import Settings

from deliveries.wakeup import TASK, new_wakeup_message
from deliveries.worker.kombu_transport import (
    LOG_INTERVAL_SECONDS,
    MAX_MESSAGE_BYTES,
    DropLog,
    Transport,
    is_wakeup_message,
)
from hookhub.service.celery import app
from hookhub.service.connections import broker


@pytest.fixture
def valkey(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        yield client


class Listener:
    """A consumer like a worker's, with a prefetch count of 1."""

    def __init__(self, link: Connection, queue: str) -> None:
        self.link = link
        self.received: list[Message] = []
        self.channel = link.default_channel
        self.consumer = Consumer(self.channel, [Queue(queue)], on_message=self.received.append)
        self.consumer.qos(prefetch_count=1)
        self.consumer.consume()
        self.queue = queue

    def send(self) -> None:
        app.send_task(TASK, connection=self.link, queue=self.queue, ignore_result=True)

    def listen(self) -> int:
        """Wait for one message, and return how many were received."""
        self.link.drain_events(timeout=60)
        return len(self.received)


@pytest.fixture
def listener(valkey: redis.Redis, settings: Settings) -> Iterator[Listener]:
    queue = f"test-{uuid4().hex}"
    with app.connection_for_read(broker(settings.REDIS_URL)) as link:
        assert isinstance(link.transport, Transport)
        yield Listener(link, queue)
    valkey.delete(queue)


def test_after_a_failed_acknowledgement_a_worker_still_consumes(listener: Listener, valkey: redis.Redis) -> None:
    listener.send()
    assert listener.listen() == 1
    assert not listener.channel.qos.can_consume()

    # The acknowledgement fails, because Redis cannot be reached.
    listener.channel.client.connection_pool.disconnect()
    listener.channel.client.connection_pool.connection_kwargs["path"] = "/nowhere"
    listener.received[0].ack_log_error(None, (redis.RedisError,))

    assert listener.channel.qos.can_consume()


@pytest.mark.usefixtures("own_valkey")
def test_messages_are_received_from_a_redis_that_is_out_of_memory(listener: Listener, valkey: redis.Redis) -> None:
    listener.send()
    valkey.config_set("maxmemory", "1")

    assert listener.listen() == 1

    listener.received[0].ack()
    assert listener.channel.qos.can_consume()


def test_unacknowledged_messages_are_not_recorded_in_redis(listener: Listener, valkey: redis.Redis) -> None:
    noted = set(valkey.keys("unacked*"))
    listener.send()

    listener.listen()

    assert set(valkey.keys("unacked*")) == noted
    listener.channel.qos.restore_unacked()
    assert valkey.llen(listener.queue) == 0


def bell(**changes: Any) -> bytes:
    return json.dumps({**new_wakeup_message("hookhub"), **changes}).encode()


STRANGE = {
    "a letter": b"x",
    "nothing": b"",
    "no UTF-8": b"\xff\xfe",
    "no object": b"[]",
    "a number": b"7",
    "JSON nested deep": b"[" * 8000,
    "an empty object": b"{}",
    "no headers": bell(headers=None),
    "headers that are a list": bell(headers=[TASK]),
    "headers that are a text": bell(headers="task"),
    "an unknown task": bell(headers={"task": "os.system", "id": "1"}),
    "a task that is no text": bell(headers={"task": [TASK], "id": "1"}),
    "a huge body": bell(body="A" * MAX_MESSAGE_BYTES),
}
# The rest of a message is not read: the message that Celery gets is built locally.
BELLS = {
    "bad base64": bell(body="%%%"),
    "no body": bell(body=None),
    "a content type that Celery refuses": bell(**{"content-type": "application/x-python-serialize"}),
    "an encoding that there is none of": bell(**{"content-encoding": "no such encoding"}),
    "no properties": bell(properties=None),
    "no id": bell(headers={"task": TASK}),
    "an ETA that is no time": bell(headers={"task": TASK, "id": "1", "eta": "tomorrow", "expires": {"a": 1}}),
    "limits that are none": bell(headers={"task": TASK, "id": 1, "timelimit": "x", "retries": "many", "stamps": 3}),
}


@pytest.mark.parametrize("item", STRANGE.values(), ids=STRANGE.keys())
def test_an_item_that_is_no_wake_up_is_dropped_and_logged_and_the_next_wake_up_received(
    listener: Listener, valkey: redis.Redis, item: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    valkey.lpush(listener.queue, item)
    listener.send()

    assert not is_wakeup_message(item)
    assert listener.listen() == 1
    assert valkey.llen(listener.queue) == 0
    [line] = [record.getMessage() for record in caplog.records if record.name == "hookhub.doorbell"]
    assert line.startswith(f"Dropped 1 items from queue {listener.queue} that are not wake-ups; ")
    assert f"the last one has {len(item)} bytes" in line


@pytest.mark.parametrize("item", BELLS.values(), ids=BELLS.keys())
def test_celery_gets_a_wake_up_without_anything_of_the_item_received(
    listener: Listener, valkey: redis.Redis, item: bytes
) -> None:
    valkey.lpush(listener.queue, item)

    assert listener.listen() == 1

    [message] = listener.received
    assert (message.headers["task"], message.payload) == (TASK, [[], {}, {}])
    assert set(message.headers) == {"lang", "task", "id", "root_id", "retries", "ignore_result"}


def test_drops_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    drops = DropLog()

    for second in (0.0, 1.0, 2.0, LOG_INTERVAL_SECONDS):
        drops.add(b"x", queue="hookhub", now=second)

    assert [record.getMessage()[:20] for record in caplog.records] == ["Dropped 1 items from", "Dropped 3 items from"]


def test_a_key_of_another_type_under_the_queues_name_is_renamed_with_its_data(
    listener: Listener, valkey: redis.Redis
) -> None:
    valkey.set(listener.queue, "another program's")
    with pytest.raises(TimeoutError):
        listener.link.drain_events(timeout=0.2)
    [aside] = valkey.keys(f"{listener.queue}:wrong-type:*")
    listener.send()

    assert listener.listen() == 1
    assert valkey.get(aside) == b"another program's"
    valkey.delete(aside)


def test_sending_and_subscribing_survive_keys_of_another_type(valkey: redis.Redis) -> None:
    queue = f"test-{uuid4().hex}"
    valkey.set(queue, "another program's")
    valkey.set(f"_kombu.binding.{queue}", "another program's")

    with app.connection_for_read() as link:
        bound = Queue(queue, exchange=Exchange(queue), routing_key=queue)
        Consumer(link.default_channel, [bound], on_message=lambda message: None).consume()
        assert link.default_channel.queue_declare(queue).message_count == 0

    assert valkey.type(f"_kombu.binding.{queue}") == b"set"
    asides = valkey.keys(f"{queue}:wrong-type:*") + valkey.keys(f"_kombu.binding.{queue}:wrong-type:*")
    assert [valkey.get(aside) for aside in asides] == [b"another program's"] * 2
    valkey.delete(*asides, f"_kombu.binding.{queue}")

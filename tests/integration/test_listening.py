"""A worker that takes messages off the bell's queue, and a Redis that forgets, refuses or goes away meanwhile."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis
from celery import current_app
from kombu import Connection, Consumer, Message, Queue
from pytest_django import Settings

from deliveries.listening import Transport


@pytest.fixture
def valkey(settings: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        yield client
        client.config_set("maxmemory", "0")


class Listener:
    """A consumer as a worker's, with room for one message."""

    def __init__(self, link: Connection, queue: str) -> None:
        self.link = link
        self.heard: list[Message] = []
        self.channel = link.default_channel
        self.consumer = Consumer(self.channel, [Queue(queue)], on_message=self.heard.append)
        self.consumer.qos(prefetch_count=1)
        self.consumer.consume()
        self.queue = queue

    def ring(self) -> None:
        self.link.Producer().publish("ring", routing_key=self.queue)

    def listen(self) -> int:
        """Wait for one message, and give how many are in hand."""
        self.link.drain_events(timeout=5)
        return len(self.heard)


@pytest.fixture
def listener(valkey: redis.Redis) -> Iterator[Listener]:
    queue = f"test-{uuid4().hex}"
    with current_app.connection_for_read() as link:
        assert isinstance(link.transport, Transport)
        yield Listener(link, queue)
    valkey.delete(queue)


def test_a_message_that_could_not_be_struck_out_does_not_make_a_worker_deaf(
    listener: Listener, valkey: redis.Redis
) -> None:
    listener.ring()
    assert listener.listen() == 1
    assert not listener.channel.qos.can_consume()

    # Nobody can be told of it: Redis ends the connection whenever it is asked.
    listener.channel.client.connection_pool.disconnect()
    listener.channel.client.connection_pool.connection_kwargs["path"] = "/nowhere"
    listener.heard[0].ack_log_error(None, (redis.RedisError,))

    assert listener.channel.qos.can_consume()


def test_a_redis_without_memory_gives_its_messages_all_the_same(listener: Listener, valkey: redis.Redis) -> None:
    listener.ring()
    valkey.config_set("maxmemory", "1")

    assert listener.listen() == 1

    listener.heard[0].ack()
    assert listener.channel.qos.can_consume()


def test_nothing_is_noted_in_redis_of_messages_in_hand(listener: Listener, valkey: redis.Redis) -> None:
    noted = set(valkey.keys("unacked*"))
    listener.ring()

    listener.listen()

    assert set(valkey.keys("unacked*")) == noted
    listener.channel.qos.restore_unacked()
    assert valkey.llen(listener.queue) == 0

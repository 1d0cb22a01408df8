"""A kombu transport for Redis that receives wake-ups, without kombu's bookkeeping of unacknowledged messages.

kombu records each message in Redis when it is received and removes the record when its task is done. If a Redis outage
prevents the removal, the message counts as unacknowledged forever; with as many of those as processes, a worker
consumes nothing more. If Redis is out of memory, recording fails and the worker exits. A wake-up carries no data, so
losing one is harmless, and only the number of unacknowledged messages matters.

The contents of the queue are not trusted: any program that can write to this Redis can put anything there, and many
malformed messages would make Celery exit. From a message only "this is a wake-up" is read; anything else is dropped
and logged.
"""

import logging
import time
from collections.abc import Sequence
from json import loads
from queue import Empty
from typing import Any

from django.conf import settings
from kombu.transport import redis, virtual
from redis.exceptions import RedisError, ResponseError
from redis.sentinel import SentinelConnectionPool

from deliveries.redis_address import sentinels_of
from deliveries.redis_link import is_wrong_type, rename_mistyped, sentinel_pool
from deliveries.wakeup import TASK, new_wakeup_message

log = logging.getLogger("hookhub.doorbell")

# A wake-up takes less than a kilobyte.
MAX_MESSAGE_BYTES = 16 * 1024
LOG_INTERVAL_SECONDS = 60.0
# How long to wait if a key of the wrong type can neither be read nor renamed.
PAUSE_SECONDS = 1.0


def is_wakeup_message(item: bytes) -> bool:
    """Return whether an item of the queue is a wake-up as ``wakeup`` sends it."""
    if len(item) > MAX_MESSAGE_BYTES:
        return False
    try:
        message = loads(item)
        return bool(message["headers"]["task"] == TASK)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return False


class DropLog:
    """Logs dropped items, at most once a minute."""

    def __init__(self) -> None:
        self._count = 0
        self._logged_at: float | None = None

    def add(self, item: bytes, *, queue: str, now: float) -> None:
        """Count a dropped item, and log the count unless that was done less than a minute ago."""
        self._count += 1
        if self._logged_at is not None and now - self._logged_at < LOG_INTERVAL_SECONDS:
            return
        log.warning(
            "Dropped %d items from queue %s that are not wake-ups; the last one has %d bytes and begins with %r. "
            "No events are lost. Check which other programs write to this Redis.",
            self._count, queue, len(item), item[:80],
        )  # fmt: skip
        self._count, self._logged_at = 0, now


class UntrackedQoS(redis.QoS):
    """The unacknowledged messages of a worker, tracked in its own process only."""

    restore_at_shutdown = False

    def append(self, message: Any, delivery_tag: str) -> None:
        """Count a message as unacknowledged."""
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Stop counting a message."""
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Stop counting a message; it is never requeued."""
        virtual.QoS.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """Stop counting all messages."""
        if self._delivered is not None:
            self._delivered.clear()

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Do nothing: no worker records its messages in Redis, so there are none to restore."""

    def restore_by_tag(self, *args: Any, **options: Any) -> None:
        """Do nothing: there is no record to restore."""


class Channel(redis.Channel):
    """kombu's channel with our bookkeeping; it tolerates any item in the queue and keys of the wrong type."""

    QoS = UntrackedQoS
    # Attributes of kombu's class that its stubs lack.
    connection_errors: tuple[type[Exception], ...]
    keyprefix_binding_permanent: str
    _flush_brpop_reauth: Any
    _q_for_pri: Any
    _queue_cycle: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._drops = DropLog()

    def _brpop_read(self, **options: Any) -> bool:
        """Read the reply to BRPOP as kombu does, but deliver a wake-up built here in place of the item received."""
        try:
            queue, item = self._parse_brpop(**options)
            self._queue_cycle.rotate(queue)
            if not is_wakeup_message(item):
                self._drops.add(item, queue=queue, now=time.monotonic())
                raise Empty
            # How kombu delivers to its consumers.
            self.connection._deliver(new_wakeup_message(queue), queue)  # noqa: SLF001
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _parse_brpop(self, **options: Any) -> tuple[str, bytes]:
        """Return the name of the queue and the item received; raises Empty if there is none."""
        connection = self.client.connection
        try:
            answer = self.client.parse_response(connection, "BRPOP", **options)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            self._rename_mistyped([key for queue in self.active_queues for key in self._keys_of(queue)])
            raise Empty from error
        except self.connection_errors:
            # The next iteration of the event loop reconnects.
            connection.disconnect()
            raise
        if not answer:
            raise Empty
        key, item = answer
        return key.decode().rsplit(self.sep, 1)[0], item

    def _keys_of(self, queue: str) -> list[str]:
        return [self._q_for_pri(queue, step) for step in self.priority_steps]

    def _size(self, queue: str) -> int:
        """Return the length of a queue; 0 if its keys were of the wrong type and have been renamed."""
        try:
            return int(super()._size(queue))
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            self._rename_mistyped(self._keys_of(queue))
            return 0

    def _queue_bind(self, exchange: str, *args: Any) -> None:
        """Bind a queue to an exchange; keys of the wrong type are renamed first."""
        try:
            super()._queue_bind(exchange, *args)  # type: ignore[misc]
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            self._rename_mistyped([self.keyprefix_queue % exchange, self.keyprefix_binding_permanent % exchange])
            super()._queue_bind(exchange, *args)  # type: ignore[misc]

    def _rename_mistyped(self, keys: Sequence[str]) -> None:
        """Rename keys of the wrong type instead of deleting them, since their data may belong to another program."""
        try:
            with self.conn_or_acquire() as client:
                rename_mistyped(client, keys)
        except RedisError as error:
            log.warning("Could not rename keys of the wrong type; check %s: %s", keys, error)
            time.sleep(PAUSE_SECONDS)


class SentinelChannel(Channel, redis.SentinelChannel):
    """Our channel with connections to the master that Sentinels name; their addresses are those of REDIS_URL."""

    # Missing in kombu's stubs.
    _connparams: Any

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> SentinelConnectionPool:  # noqa: FBT001, FBT002
        """Return a pool of connections, which tell the event loop when they are closed if ``asynchronous``."""
        sentinels = sentinels_of(settings.REDIS_URL)
        if sentinels is None:
            raise ValueError("REDIS_URL does not name Sentinels")
        of_kombu = self._connparams(asynchronous)
        return sentinel_pool(sentinels, **{**of_kombu, **sentinels.options})


class SentinelTransport(redis.SentinelTransport):
    """kombu's Redis transport for Sentinels with our channel."""

    Channel = SentinelChannel


class Transport(redis.Transport):
    """kombu's Redis transport with our channel."""

    Channel = Channel

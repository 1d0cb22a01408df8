"""How a worker hears the bell: kombu's way to Redis, without the books that it keeps of messages in hand.

kombu notes each message in Redis when it is taken and strikes it out when its task is done. Where a Redis that went
away kept it from striking out, the message counted as in hand for ever, and with as many of them as a worker has
processes the worker took no further one: it lived and was deaf. Where a Redis without memory kept it from noting, the
worker ended. A bell that is lost changes nothing, so nothing has to be known of it but how many are in hand.

Nor is Redis believed: any program that can write to it can put anything into the queue, and much of that would have
Celery end the worker. Of what comes, nothing but "this is a bell" is read; all else is dropped, with a line in the log.
"""

import logging
import time
from collections.abc import Sequence
from json import loads
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.transport import redis, virtual
from redis.exceptions import RedisError, ResponseError

log = logging.getLogger("hookhub.doorbell")

TASK = "deliveries.drain"
# A bell has less than a kilobyte.
MAX_BELL_BYTES = 16 * 1024
# No arguments, as Celery writes that: [[], {}, {}] in base64.
NO_ARGUMENTS = "W1tdLCB7fSwge31d"
LOG_INTERVAL_SECONDS = 60.0
# How long a worker leaves Redis alone that neither gives the queue nor lets it be moved out of the way.
PAUSE_SECONDS = 1.0


def is_bell(item: bytes) -> bool:
    """Return whether an item of the queue is what ``doorbell`` puts there."""
    if len(item) > MAX_BELL_BYTES:
        return False
    try:
        message = loads(item)
        return bool(message["headers"]["task"] == TASK)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return False


def new_bell(queue: str) -> dict[str, Any]:
    """Return a message as Celery expects it, made here from beginning to end, because a bell carries nothing."""
    number = str(uuid4())
    return {
        "body": NO_ARGUMENTS,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": TASK, "id": number, "root_id": number, "retries": 0, "ignore_result": True},
        "properties": {
            "correlation_id": number,
            "delivery_tag": number,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "body_encoding": "base64",
            "priority": 0,
        },
    }


class Complaints:
    """Logs what is dropped, at most once a minute however much it is."""

    def __init__(self) -> None:
        self._count = 0
        self._logged_at: float | None = None

    def dropped(self, item: bytes, *, queue: str, now: float) -> None:
        """Count an item that was dropped, and say so if that was not said lately."""
        self._count += 1
        if self._logged_at is not None and now - self._logged_at < LOG_INTERVAL_SECONDS:
            return
        log.warning(
            "Dropped %d items of the queue %s that are no bells; the last one, of %d bytes, begins with %r. "
            "Nothing is lost. Who else can write to this Redis?", self._count, queue, len(item), item[:80],
        )  # fmt: skip
        self._count, self._logged_at = 0, now


class Hand(redis.QoS):
    """The messages that a worker has taken and not done with, known to its own process only."""

    restore_at_shutdown = False

    def append(self, message: Any, delivery_tag: str) -> None:
        """Count a message as in hand."""
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Count it no more."""
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Count it no more; nobody needs it again."""
        del requeue
        virtual.QoS.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """Let go of all of them."""
        del client
        if self._delivered is not None:
            self._delivered.clear()

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Give nothing back on behalf of others: nobody has noted anything."""

    def restore_by_tag(self, *args: Any, **options: Any) -> None:
        """Give nothing back."""


class Channel(redis.Channel):
    """kombu's channel with our hand, which survives whatever is in the queue, and whatever has the queue's name."""

    QoS = Hand
    # kombu's, which its stubs do not know.
    connection_errors: tuple[type[Exception], ...]
    keyprefix_binding_permanent: str
    _flush_brpop_reauth: Any
    _q_for_pri: Any
    _queue_cycle: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._complaints = Complaints()

    def _brpop_read(self, **options: Any) -> bool:
        """Read the answer to BRPOP as kombu does, but deliver a bell of our own making in its place."""
        try:
            queue, item = self._answer_to_brpop(**options)
            self._queue_cycle.rotate(queue)
            if not is_bell(item):
                self._complaints.dropped(item, queue=queue, now=time.monotonic())
                raise Empty
            self.connection._deliver(new_bell(queue), queue)  # noqa: SLF001 - kombu's own way to its consumers
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _answer_to_brpop(self, **options: Any) -> tuple[str, bytes]:
        """Return the queue that has an item, and the item; raises Empty when there is none."""
        connection = self.client.connection
        try:
            answer = self.client.parse_response(connection, "BRPOP", **options)
        except ResponseError as error:
            if not _is_wrong_type(error):
                raise
            self._clear_the_way([key for queue in self.active_queues for key in self._keys_of(queue)])
            raise Empty from error
        except self.connection_errors:
            # The next turn of the loop connects again.
            connection.disconnect()
            raise
        if not answer:
            raise Empty
        key, item = answer
        return key.decode().rsplit(self.sep, 1)[0], item

    def _keys_of(self, queue: str) -> list[str]:
        return [self._q_for_pri(queue, step) for step in self.priority_steps]

    def _size(self, queue: str) -> int:
        """Return how long a queue is; one whose keys had to be taken out of the way is empty."""
        try:
            return int(super()._size(queue))
        except ResponseError as error:
            if not _is_wrong_type(error):
                raise
            self._clear_the_way(self._keys_of(queue))
            return 0

    def _queue_bind(self, exchange: str, *args: Any) -> None:
        """Note which queue an exchange leads to."""
        try:
            super()._queue_bind(exchange, *args)  # type: ignore[misc]
        except ResponseError as error:
            if not _is_wrong_type(error):
                raise
            self._clear_the_way([self.keyprefix_queue % exchange, self.keyprefix_binding_permanent % exchange])
            super()._queue_bind(exchange, *args)  # type: ignore[misc]

    def _clear_the_way(self, keys: Sequence[str]) -> None:
        """Rename keys that are neither lists nor sets: the name is ours, what is in them may be somebody's."""
        try:
            with self.conn_or_acquire() as client:
                for key in keys:
                    # kombu keeps its bindings in sets; all others are lists.
                    expected = b"set" if key.startswith("_kombu.") else b"list"
                    if client.type(key) not in {b"none", expected}:
                        aside = f"{key}:not-ours:{uuid4().hex[:8]}"
                        client.rename(key, aside)
                        log.warning("The key %r was not of the type that HookHub uses it for; it is %r now", key, aside)
        except RedisError as error:
            log.warning("A key of the bell is of the wrong type and cannot be renamed; look at %s: %s", keys, error)
            time.sleep(PAUSE_SECONDS)


def _is_wrong_type(error: ResponseError) -> bool:
    # In a pipeline the command comes first.
    return "WRONGTYPE" in str(error)


class Transport(redis.Transport):
    """kombu's transport with our channel."""

    Channel = Channel

"""How a worker hears the bell: kombu's way to Redis, without the books that it keeps of messages in hand.

kombu notes each message in Redis when it is taken and strikes it out when its task is done. Where a Redis that went
away kept it from striking out, the message counted as in hand for ever, and with as many of them as a worker has
processes the worker took no further one: it lived and was deaf. Where a Redis without memory kept it from noting, the
worker ended. A bell that is lost changes nothing, so nothing has to be known of it but how many are in hand.
"""

from typing import Any

from kombu.transport import redis, virtual


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
    """kombu's channel with our hand."""

    QoS = Hand


class Transport(redis.Transport):
    """kombu's transport with our channel."""

    Channel = Channel

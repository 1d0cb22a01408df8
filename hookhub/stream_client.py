"""Python client for producers that have access to HookHub's Redis: appends events to the stream that workers read.

    with StreamPublisher("redis://redis.internal:6379/0") as hookhub:
        hookhub.publish("push", {"ref": "refs/heads/main"}, repository="acme/widgets")

When a call returns, Redis has the event, which is then as durable as that Redis; a worker stores it in the database
within milliseconds. There is no response from HookHub: an entry that it cannot accept, for example because it names an
unknown repository, is moved to the dead-letter stream for the operator.

Requires ``redis``, and ``requests`` for ``hookhub.client``, on Python 3.9 or later. Threads may share a
StreamPublisher.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from redis import Redis, exceptions
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from hookhub.client import Event, HookHubError
from hookhub.client.events import batches

if TYPE_CHECKING:
    # Not in the typing module of Python 3.9 and 3.10.
    from typing import Self

DEFAULT_STREAM = "hookhub:events"
MAX_BATCH_EVENTS = 500
MAX_BATCH_BYTES = 4 << 20


class NotPublished(HookHubError):
    """Redis did not accept the events, or its response was lost; ``str()`` states the reason and a remedy.

    ``entries`` is a tuple of the entry ids (str) that Redis confirmed before the failure. ``code`` (str) is one of
    ``connection_failed``, ``unauthenticated``, ``redis_full``, ``redis_refused`` and ``not_redis``; ``status`` is None.
    If the events have ids of their own, publishing all of them again publishes none of them twice.
    """

    def __init__(self, message: str, *, code: str, advice: str, entries: Sequence[str] = ()) -> None:
        super().__init__(message, status=None, code=code, advice=advice)
        self.entries = tuple(entries)


class StreamPublisher:
    """Appends events to the stream of one HookHub; use it as a context manager, or call ``close()``.

    ``redis`` is the URL of HookHub's Redis, or a ``redis.Redis`` client, which the caller configures and closes, for
    example that of a ``redis.Sentinel``.
    ``stream`` must be the deployment's HOOKHUB_STREAM. ``timeout`` (for a connection and for each response) and
    ``retries`` (the maximum number of retries) apply only with a URL. Retrying is safe, because every event has an
    idempotency key.

    Raise ValueError for an invalid URL or an empty ``stream``.
    """

    def __init__(
        self,
        redis: str | Redis,
        *,
        stream: str = DEFAULT_STREAM,
        timeout: timedelta = timedelta(seconds=5),
        retries: int = 3,
    ) -> None:
        if not stream:
            raise ValueError("stream must not be empty; use the deployment's HOOKHUB_STREAM")
        self._stream = stream
        self._is_ours = isinstance(redis, str)
        self._redis = _connect(redis, timeout=timeout, retries=retries) if isinstance(redis, str) else redis

    def __enter__(self) -> Self:
        """Return the publisher itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections, unless the caller passed its own client."""
        if self._is_ours:
            self._redis.close()

    def publish(
        self,
        type: str,
        data: Any,
        *,
        repository: str | None = None,
        id: str | None = None,
        timestamp: datetime | None = None,
        organization: str | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> str:
        """Publish one event and return the id of its stream entry, such as ``1772625600000-0``.

        The arguments are the fields of ``hookhub.client.Event``. Raise NotPublished.
        """
        event = Event(
            type, data, repository=repository, id=id, timestamp=timestamp, organization=organization, trace=trace
        )
        return self.publish_batch([event])[0]

    def publish_batch(self, events: Iterable[Event]) -> list[str]:
        """Publish events, up to 500 in one round trip, and return the ids of their stream entries in the same order.

        ``events`` may be a generator of any length. Raise NotPublished.
        """
        entries: list[str] = []
        for batch in batches(events, max_events=MAX_BATCH_EVENTS, max_bytes=MAX_BATCH_BYTES):
            try:
                self._write(batch, entries)
            # redis-py may raise any exception for a response that does not come from a Redis.
            except Exception as error:
                raise _not_published(error, entries=entries) from error
        return entries

    def _write(self, batch: Sequence[bytes], entries: list[str]) -> None:
        """Append events to the stream, and the ids of those that Redis accepted to ``entries``."""
        with self._redis.pipeline(transaction=False) as writing:
            for event in batch:
                writing.xadd(self._stream, {"event": event})
            results = writing.execute(raise_on_error=False)
        entries += [_text(one) for one in results if not isinstance(one, Exception)]
        for one in results:
            if isinstance(one, Exception):
                raise one


def _connect(url: str, *, timeout: timedelta, retries: int) -> Redis:
    seconds = timeout.total_seconds()
    backoff = ExponentialWithJitterBackoff(base=0.1, cap=2)
    try:
        return Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(backoff, retries)
        )
    except ValueError:
        # redis-py's message may quote a part of the password.
        raise ValueError(
            "redis must be a URL such as redis://:password@redis.internal:6379/0; "
            "percent-encode special characters in the password. With Sentinels, pass a client: "
            "Sentinel([(host, port)]).master_for(service)"
        ) from None


def _text(entry_id: object) -> str:
    if not isinstance(entry_id, (bytes, str)):
        raise TypeError("the response is not an entry id")
    return entry_id.decode() if isinstance(entry_id, bytes) else entry_id


def _not_published(error: Exception, *, entries: Sequence[str]) -> NotPublished:
    if isinstance(error, exceptions.AuthenticationError):
        code, advice = "unauthenticated", "Check the user name and the password in the URL."
    elif isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError)):
        code, advice = "connection_failed", "Check the URL, and that Redis is running; then publish again."
    elif isinstance(error, exceptions.OutOfMemoryError):
        code, advice = "redis_full", "Publish again when the workers have caught up, or raise Redis's maxmemory."
    elif isinstance(error, exceptions.RedisError):
        code, advice = "redis_refused", "Check the name of the stream, and the permissions (ACL) of the Redis user."
    else:
        code, advice = "not_redis", "Check that the URL points to a Redis server."
    return NotPublished(f"Redis did not accept the events: {error}", code=code, advice=advice, entries=entries)

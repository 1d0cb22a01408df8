"""The client for producers: workers can read what it writes to a real Valkey, and it reports errors."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from deliveries.models import Event as StoredEvent
from hookhub.client import Event, HookHubError
from hookhub.publishing.redis_stream.consumer import Consumer, connect, dead_letter_stream
from hookhub.publishing.redis_stream.reader import Reader
from hookhub.stream_client import DEFAULT_STREAM, MAX_BATCH_EVENTS, NotPublished, StreamPublisher
from tests.story import Forge


@pytest.fixture
def stream(settings: Settings) -> Iterator[str]:
    name = f"test:{uuid4().hex}"
    yield name
    with Redis.from_url(settings.REDIS_URL) as client:
        client.delete(name, dead_letter_stream(name))


@pytest.fixture
def publisher(settings: Settings, stream: str) -> Iterator[StreamPublisher]:
    with StreamPublisher(settings.REDIS_URL, stream=stream) as made:
        yield made


def read_all(settings: Settings, stream: str, *, now: datetime) -> int:
    """Store all entries in the database, as a worker does."""
    with connect(settings.REDIS_URL) as client:
        reader = Reader(Consumer(client, stream=stream, name="reader"), clock=lambda: now)
        reader.take()
        total = 0
        while taken := reader.take():
            total += taken
        return total


def length(settings: Settings, stream: str) -> int:
    with Redis.from_url(settings.REDIS_URL) as client:
        return int(client.xlen(stream))  # type: ignore[arg-type]


@pytest.mark.django_db
def test_what_is_published_arrives_as_it_is(
    forge: Forge, publisher: StreamPublisher, settings: Settings, stream: str, now: datetime
) -> None:
    data = {"text": "ü 🎉 \0", "number": 1.5, "nothing": None}
    at = datetime(2026, 3, 3, 3, 3, 3, tzinfo=UTC)
    with connect(settings.REDIS_URL) as client:
        Consumer(client, stream=stream, name="first").new(1)

    entry = publisher.publish(
        "issues.opened", data, repository="acme/widgets", id="seven", timestamp=at, organization="acme"
    )

    assert read_all(settings, stream, now=now) <= 1
    stored = StoredEvent.objects.get()
    assert bytes(stored.payload).decode() == '{"text":"ü 🎉 \\u0000","number":1.5,"nothing":null}'
    assert (stored.type, stored.idempotency_key, stored.occurred_at) == ("issues.opened", "seven", at)
    assert stored.repository_id == forge.repository.pk
    assert entry.partition("-")[1] == "-"


@pytest.mark.django_db
def test_many_are_written_in_order_and_written_again_are_published_once(
    forge: Forge, publisher: StreamPublisher, settings: Settings, stream: str, now: datetime
) -> None:
    count = 2 * MAX_BATCH_EVENTS + 1
    events = [Event("push", number, id=str(number)) for number in range(count)]

    entries = publisher.publish_batch(events)
    again = publisher.publish_batch(iter(events))

    assert len(entries) == len(again) == count
    assert len(set(entries + again)) == 2 * count
    with connect(settings.REDIS_URL) as client:
        Consumer(client, stream=stream, name="first").new(1)
    read_all(settings, stream, now=now)
    assert [int(bytes(event.payload)) for event in StoredEvent.objects.order_by("id")] == list(range(count))
    assert length(settings, dead_letter_stream(stream)) == 0


def test_nothing_is_nothing(publisher: StreamPublisher, settings: Settings, stream: str) -> None:
    assert publisher.publish_batch([]) == []
    assert length(settings, stream) == 0


def test_every_event_gets_an_id_of_its_own(publisher: StreamPublisher, settings: Settings, stream: str) -> None:
    publisher.publish_batch(Event("push", number) for number in range(3))

    with Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
        written = [fields["event"] for _, fields in client.xrange(stream)]  # type: ignore[union-attr]
    assert all(text.startswith('{"type":"push","data":') for text in written)
    assert len({text.partition('"id":')[2] for text in written}) == 3


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (Event("push", float("nan")), ValueError),
        (Event("push", object()), TypeError),
        (Event("push", 1, timestamp=datetime(2026, 3, 4)), ValueError),  # noqa: DTZ001 - that is the mistake
    ],
    ids=["no JSON", "not JSON's", "no zone"],
)
def test_what_nobody_could_read_is_told_at_once_and_not_written(
    publisher: StreamPublisher, settings: Settings, stream: str, event: Event, error: type[Exception]
) -> None:
    with pytest.raises(error):
        publisher.publish_batch([Event("push", 1), event])

    assert length(settings, stream) == 0


def test_a_client_of_ones_own_is_used_and_left_open(settings: Settings, stream: str) -> None:
    with Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
        with StreamPublisher(client, stream=stream) as publisher:
            entry = publisher.publish("push", 1)

        assert isinstance(entry, str)
        assert client.xlen(stream) == 1


@pytest.mark.parametrize("kind", ["absent", "hanging"])
def test_without_redis_it_says_so(tmp_path: Path, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as hanging:
        addresses = {
            "absent": f"unix://{tmp_path}/nobody.sock?db=0",
            "hanging": f"redis://127.0.0.1:{hanging.getsockname()[1]}/0",
        }
        with (
            StreamPublisher(addresses[kind], timeout=timedelta(milliseconds=50), retries=1) as publisher,
            pytest.raises(NotPublished, match="Check the URL, and that Redis is running") as failure,
        ):
            publisher.publish("push", 1)

    assert (failure.value.code, failure.value.status, failure.value.entries) == ("connection_failed", None, ())
    assert isinstance(failure.value, HookHubError)


def test_an_answer_that_got_lost_is_asked_for_again(settings: Settings, stream: str) -> None:
    with Redis.from_url(settings.REDIS_URL, retry=Retry(NoBackoff(), 1)) as client:
        publisher = StreamPublisher(client, stream=stream)
        publisher.publish("push", 1)
        with Redis.from_url(settings.REDIS_URL) as other:
            other.client_kill_filter(_id=str(client.client_id()))

        publisher.publish("push", 2)

        assert client.xlen(stream) == 2


def test_what_redis_refuses_is_told_with_what_it_took(
    settings: Settings, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Redis.from_url(settings.REDIS_URL) as client:
        client.set(stream, "not a stream")
        with pytest.raises(NotPublished, match=r"WRONGTYPE.* Check the name of the stream") as failure:
            StreamPublisher(client, stream=stream).publish("push", 1)
        assert failure.value.code == "redis_refused"

        client.delete(stream)
        publisher = StreamPublisher(client, stream=stream)
        write = StreamPublisher._write

        def be_full_after_the_first(self: StreamPublisher, batch: Any, entries: list[str]) -> None:
            if entries:
                raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
            write(self, batch, entries)

        monkeypatch.setattr(StreamPublisher, "_write", be_full_after_the_first)
        with pytest.raises(NotPublished, match="raise Redis's maxmemory") as failure:
            publisher.publish_batch(Event("push", number) for number in range(MAX_BATCH_EVENTS + 1))

        assert len(failure.value.entries) == client.xlen(stream) == MAX_BATCH_EVENTS


def test_a_stream_must_have_a_name(settings: Settings) -> None:
    with pytest.raises(ValueError, match="HOOKHUB_STREAM"):
        StreamPublisher(settings.REDIS_URL, stream="")

    assert settings.HOOKHUB_STREAM == DEFAULT_STREAM

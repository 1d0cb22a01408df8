"""What a program that may only append to the stream can do to it, and that the workers keep working."""

from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings
from redis import Redis
from redis.exceptions import ResponseError

from deliveries.models import Event
from hookhub.publishing.redis_stream import consumer as consuming
from hookhub.publishing.redis_stream.consumer import MAX_BATCH_BYTES, Consumer, connect, dead_letter_stream
from hookhub.publishing.redis_stream.entries import Entry, InvalidEntry
from hookhub.publishing.redis_stream.reader import PENDING_CHECK_INTERVAL, Reader
from tests.story import Forge

pytestmark = pytest.mark.django_db(transaction=True)

EVENT = b'{"type": "push", "data": 1}'
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"


@pytest.fixture
def consumer(settings: Settings, stream: str) -> Consumer:
    made = Consumer(connect(settings.REDIS_URL), stream=stream, name="first")
    # The first read creates the consumer group.
    made.new(1)
    return made


@pytest.fixture
def valkey(settings: Settings) -> Redis:
    return connect(settings.REDIS_URL)


def test_a_stream_shut_by_the_last_id_there_is_is_read_to_its_end_and_made_anew(
    forge: Forge, consumer: Consumer, valkey: Redis, stream: str
) -> None:
    moment = datetime.now(UTC)
    reader = Reader(consumer, clock=lambda: moment)
    valkey.xadd(stream, {"event": EVENT})
    valkey.xadd(stream, {"event": EVENT}, id=LAST_ID)
    with pytest.raises(ResponseError):
        valkey.xadd(stream, {"event": EVENT})

    # Only at its next check for stale entries does the reader find that nothing is left.
    assert reader.take() == 2
    moment += PENDING_CHECK_INTERVAL
    assert reader.take() == 0
    valkey.xadd(stream, {"event": EVENT})
    assert reader.take() == 1

    assert Event.objects.count() == 3


@pytest.mark.parametrize(("ahead", "is_made_anew"), [(timedelta(hours=1), False), (timedelta(days=2), True)])
def test_a_stream_is_made_anew_only_when_its_last_id_is_far_in_the_future(
    consumer: Consumer, valkey: Redis, stream: str, ahead: timedelta, is_made_anew: bool
) -> None:
    now = datetime.now(UTC)
    valkey.xadd(stream, {"event": EVENT}, id=f"{round((now + ahead).timestamp() * 1000)}-0")

    assert not consumer.reopen(now=now), "while an entry waits"
    entries = consumer.new(1)
    assert not consumer.reopen(now=now), "while a worker has it"
    consumer.acknowledge(entries)

    assert consumer.reopen(now=now) is is_made_anew
    assert bool(valkey.exists(stream)) is not is_made_anew


def test_a_batch_is_taken_no_further_than_its_bytes_whatever_the_last_one_was(
    consumer: Consumer, valkey: Redis, stream: str
) -> None:
    quarter = b"x" * (MAX_BATCH_BYTES // 4)
    for _ in range(6):
        valkey.xadd(stream, {"event": quarter})

    assert [len(consumer.new(500)), len(consumer.new(500))] == [4, 2]
    assert len(consumer.pending(500)) == 4
    _, abandoned = consumer.claim_stale(500, idle=timedelta(0), cursor=consuming.START)
    assert len(abandoned) == 4


def test_the_oldest_refused_entries_make_room_for_new_ones(
    consumer: Consumer, valkey: Redis, stream: str, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    monkeypatch.setattr(consuming, "MAX_DEAD_LETTERS", 100)
    for _ in range(350):
        valkey.xadd(stream, {"rubbish": "x"})
    entries = consumer.new(500)

    consumer.dead_letter([InvalidEntry(entry, "no") for entry in entries], now=now)

    # Redis trims by whole nodes of a hundred entries.
    assert 100 <= valkey.xlen(dead_letter_stream(stream)) <= 200
    assert valkey.xlen(stream) == 0


def test_of_a_refused_entry_longer_than_any_request_its_error_is_kept_and_not_its_contents(
    consumer: Consumer, valkey: Redis, stream: str, settings: Settings, now: datetime
) -> None:
    settings.HOOKHUB_REQUEST_LIMIT = 1000
    entry_id = valkey.xadd(stream, {"event": b"x" * 2000})
    [entry] = consumer.new(1)
    assert isinstance(entry, Entry)

    consumer.dead_letter([InvalidEntry(entry, "The entry is too long.")], now=now)

    [(_, fields)] = valkey.execute_command("XRANGE", dead_letter_stream(stream), "-", "+")
    kept = dict(zip(fields[::2], fields[1::2], strict=True))
    assert (kept[b"error"], kept[b"entry"]) == (b"The entry is too long.", entry_id)
    assert kept[b"dropped"] == b"2005 bytes, more than HOOKHUB_REQUEST_LIMIT"

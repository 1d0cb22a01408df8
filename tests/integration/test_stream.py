"""Publishing through a real Valkey: every entry is stored exactly once or dead-lettered, whatever happens."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from django.db import DataError, InternalError, OperationalError, connection
from pytest_django import Settings
from redis import Redis
from redis.exceptions import ResponseError

from deliveries import pipeline
from deliveries.models import Delivery, Event, Organization, Repository
from hookhub.publishing.redis_stream import dead_letters
from hookhub.publishing.redis_stream import reader as reading
from hookhub.publishing.redis_stream.consumer import GROUP, START, Consumer, connect, dead_letter_stream
from hookhub.publishing.redis_stream.dead_letters import Counts
from hookhub.publishing.redis_stream.entries import Entry
from hookhub.publishing.redis_stream.reader import DEREGISTER_AFTER, FIRST_BATCH, PENDING_CHECK_INTERVAL, Reader
from testbed.proxy import Proxy
from tests.api import Caller
from tests.story import Forge, counted_statements

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stream(settings: Settings) -> Iterator[str]:
    """Return the name of a stream in the real Valkey, unique to this test."""
    settings.HOOKHUB_STREAM = f"test:{uuid4().hex}"
    # Any pending entry counts as stale.
    settings.HOOKHUB_LEASE = timedelta(0)
    yield settings.HOOKHUB_STREAM
    with Redis.from_url(settings.REDIS_URL) as client:
        client.delete(settings.HOOKHUB_STREAM, dead_letter_stream(settings.HOOKHUB_STREAM))


@pytest.fixture
def valkey(settings: Settings) -> Iterator[Redis]:
    with connect(settings.REDIS_URL) as client:
        yield client


class Workers:
    """Readers by name, each like that of a separate worker."""

    def __init__(self, client: Redis, stream: str, now: datetime) -> None:
        self.client, self.stream, self.now = client, stream, now
        self._readers: dict[str, Reader] = {}

    def reader(self, name: str = "first") -> Reader:
        if name not in self._readers:
            self._readers[name] = Reader(Consumer(self.client, stream=self.stream, name=name), clock=lambda: self.now)
        return self._readers[name]

    def take(self, name: str = "first", *, later: timedelta = PENDING_CHECK_INTERVAL) -> int:
        """Read one batch, with the clock advanced by ``later``, by default far enough to claim stale entries."""
        self.now += later
        return self.reader(name).take()

    def take_all(self, name: str = "first") -> int:
        total = 0
        while taken := self.take(name):
            total += taken
        return total


@pytest.fixture
def workers(valkey: Redis, stream: str, now: datetime) -> Workers:
    made = Workers(valkey, stream, now)
    # The first read creates the consumer group.
    assert made.take() == 0
    return made


@pytest.fixture
def add(valkey: Redis, stream: str) -> Any:
    """Append an entry with one event, as a producer would; return its id."""

    def add(data: Any = None, *, fields: dict[Any, Any] | None = None, **event: Any) -> str:
        event = {"type": "push", "data": data, **event}
        return str(valkey.xadd(stream, fields or {"event": json.dumps(event)}).decode())  # type: ignore[union-attr]

    return add


def stored() -> list[Any]:
    """Return the data of the stored events, in order."""
    return [json.loads(bytes(payload)) for payload in Event.objects.order_by("id").values_list("payload", flat=True)]


def counts(valkey: Redis, stream: str) -> tuple[int, int, int]:
    found = dead_letters.count(valkey, stream)
    return found.waiting, found.in_hand, found.refused


def errors(valkey: Redis, stream: str) -> list[str]:
    return [each.error for each in dead_letters.iterate(valkey, stream)]


# What is stored -----------------------------------------------------------------------------------------------------


def test_an_entry_is_published_byte_for_byte_and_leaves_the_stream(
    forge: Forge, workers: Workers, valkey: Redis, stream: str, now: datetime
) -> None:
    forge.webhook(now=now)
    data = '{"b" :1,"a":2, "a":3e400,"ü":"\\u0000 🎉"  }'.encode()
    milliseconds = int(now.timestamp() * 1000)
    content = b'{"type":"issues.opened","repository":"acme/widgets","data": %b }' % data
    valkey.xadd(stream, {"event": content}, id=f"{milliseconds}-7")

    assert workers.take() == 1

    event = Event.objects.get()
    assert (bytes(event.payload), event.type, event.repository_id) == (data, "issues.opened", forge.repository.pk)
    assert (event.occurred_at, event.accepted_at) == (now, workers.now)
    assert counts(valkey, stream) == (0, 0, 0)
    assert pipeline.fan_out(now=now)[:2] == (1, 1)
    assert Delivery.objects.get().event_id == event.pk


def test_the_events_own_time_goes_before_the_entrys(forge: Forge, workers: Workers, add: Any, now: datetime) -> None:
    add(1, timestamp="2020-02-02T02:02:02Z")

    workers.take()

    assert Event.objects.get().occurred_at.year == 2020


def test_a_batch_is_stored_in_order_by_one_statement(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    for number in range(FIRST_BATCH):
        add(number, repository="widgets")

    with counted_statements() as seen:
        assert workers.take() == FIRST_BATCH

    assert sum("INSERT INTO hookhub_event" in statement for statement in seen) == 1
    assert sum('FROM "hookhub_repository"' in statement for statement in seen) == 1
    assert stored() == list(range(FIRST_BATCH))
    assert counts(valkey, stream) == (0, 0, 0)


def test_a_backlog_is_read_in_growing_batches_to_its_end(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    with valkey.pipeline(transaction=False) as writing:
        for number in range(1200):
            writing.xadd(stream, {"event": json.dumps({"type": "push", "data": number})})
        writing.execute()

    batches = []
    while taken := workers.take():
        batches.append(taken)

    assert batches == [16, 32, 64, 128, 256, 500, 204]
    assert stored() == list(range(1200))


def test_several_events_in_an_entry_are_all_published_or_none(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    lines = "\n".join(json.dumps({"type": "push", "data": number}) for number in range(3))
    add(fields={"events": lines, "organization": "acme"})
    add(fields={"events": lines + '\n{"type":"push","data":3,"repository":"nowhere"}'})

    workers.take()

    assert stored() == [0, 1, 2]
    assert errors(valkey, stream) == [
        "events[3].repository: acme has no such repository; create it with POST /v1/repositories"
    ]


def test_more_than_a_request_may_hold_is_stored_in_portions(
    forge: Forge, workers: Workers, add: Any, settings: Settings
) -> None:
    settings.HOOKHUB_REQUEST_LIMIT = 1000
    for number in range(5):
        add([number, "x" * 400])

    with counted_statements() as seen:
        workers.take()

    assert sum("INSERT INTO hookhub_event" in statement for statement in seen) == 3
    assert [number for number, _ in stored()] == list(range(5))


def test_without_a_name_the_only_organization_is_meant(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    add("alone")
    workers.take()
    other = Organization.objects.create(slug="other")
    Repository.objects.create(organization=other, name="widgets")
    add("unnamed")
    add("named", organization="other", repository="widgets")
    add(fields={"event": '{"type":"push","data":"as a field","repository":"other/widgets"}', "organization": "other"})
    add("nobody's", organization="nobody")
    add("another's", organization="acme", repository="other/widgets")

    workers.take()

    assert stored() == ["alone", "named", "as a field"]
    assert [event.organization.slug for event in Event.objects.order_by("id")] == ["acme", "other", "other"]
    assert errors(valkey, stream) == [
        "organization: is required because this HookHub does not have exactly one",
        "organization: nobody does not exist",
        "repository: acme has no such repository; create it with POST /v1/repositories",
    ]


def test_an_event_published_over_http_too_is_published_once(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    event = {"type": "push", "data": {"a": 1}, "repository": "acme/widgets", "id": "once"}
    assert Caller.of(forge.organization).post("/v1/events", event).status_code == 202

    add({"a": 1}, repository="acme/widgets", id="once")
    add({"a": 1}, repository="acme/widgets", id="once")
    workers.take()

    assert stored() == [{"a": 1}]
    assert counts(valkey, stream) == (0, 0, 0)


# Crashes ------------------------------------------------------------------------------------------------------------


def test_what_was_stored_but_not_taken_out_is_not_published_again(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    for number in range(5):
        add(number)
    with monkeypatch.context() as patch:
        patch.setattr(Consumer, "acknowledge", die)
        with pytest.raises(Killed):
            workers.take("first")
    assert (stored(), counts(valkey, stream)) == (list(range(5)), (0, 5, 0))
    add(5)

    assert workers.take_all("second") == 6

    assert stored() == list(range(6))
    assert counts(valkey, stream) == (0, 0, 0)


def test_what_a_dead_worker_had_in_hand_is_taken_over_once_it_is_idle(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str, settings: Settings
) -> None:
    for number in range(40):
        add(number)
    dead = Consumer(valkey, stream=stream, name="dead")
    assert len(dead.new(30)) == 30
    settings.HOOKHUB_LEASE = timedelta(hours=1)
    assert workers.take_all() == 10

    settings.HOOKHUB_LEASE = timedelta(0)
    assert workers.take_all() == 30

    assert sorted(stored()) == list(range(40))
    assert counts(valkey, stream) == (0, 0, 0)


def test_a_worker_finishes_what_it_has_in_hand_itself_before_anything_new(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str, settings: Settings
) -> None:
    settings.HOOKHUB_LEASE = timedelta(hours=1)
    add("taken, and the answer was lost")
    workers.reader("first").consumer.new(10)
    add("new")

    workers.take("first")
    assert stored() == ["taken, and the answer was lost"]
    workers.take("first")

    assert stored() == ["taken, and the answer was lost", "new"]


def test_an_entry_that_was_deleted_while_in_hand_is_let_go(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    ours = add(1)
    workers.reader("first").consumer.new(1)
    theirs = add(2)
    Consumer(valkey, stream=stream, name="dead").new(1)
    valkey.xdel(stream, ours, theirs)
    add(3)

    workers.take_all("first")

    assert stored() == [3]
    assert counts(valkey, stream) == (0, 0, 0)


def test_two_workers_that_have_the_same_entries_publish_and_dead_letter_once(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(1)
    add(2, repository="nowhere")
    store = reading.store

    def be_slow(*args: Any, **more: Any) -> Any:
        """Delay the first worker until another has claimed and processed its entries."""
        monkeypatch.setattr(reading, "store", store)
        assert workers.take("second") == 2
        return store(*args, **more)

    monkeypatch.setattr(reading, "store", be_slow)
    assert workers.take("first") == 2

    assert stored() == [1]
    assert counts(valkey, stream) == (0, 0, 1)


# Invalid entries ----------------------------------------------------------------------------------------------------


def test_what_is_invalid_is_dead_lettered_and_its_neighbours_are_published(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    add(1)
    broken = add(fields={"event": b'{"type": \xff'})
    add(2)
    add(3, repository="nowhere")
    add(4, type="no type")
    surrogate = add(fields={"event": b'{"type":"push","data":1,"\\ud800":1}'})
    add(5)

    workers.take()

    assert stored() == [1, 2, 5]
    assert counts(valkey, stream) == (0, 0, 4)
    letters = {each.entry_id: each for each in dead_letters.iterate(valkey, stream)}
    assert letters[broken].fields == [b"event", b'{"type": \xff']
    assert letters[broken].error == "The body is not valid UTF-8 at byte 9."
    assert letters[broken].refused_at == workers.now
    assert letters[surrogate].error.startswith("\\ud800: is not a known field of an event")
    assert "Moving 4 invalid entries to the dead-letter stream" in caplog.text


def test_an_entry_with_many_fields_or_one_twice_is_dead_lettered_whole(
    forge: Forge, workers: Workers, valkey: Redis, stream: str
) -> None:
    twice = ["event", '{"type":"push","data":1}', "event", '{"type":"push","data":2}']
    many = [f"field{number}" for number in range(20_000)]
    valkey.execute_command("XADD", stream, "*", *twice)
    valkey.execute_command("XADD", stream, "*", *many)

    workers.take()

    assert stored() == []
    first, second = dead_letters.iterate(valkey, stream)
    assert first.fields == [text.encode() for text in twice]
    assert second.fields == [text.encode() for text in many]


def test_a_key_used_for_something_else_is_dead_lettered_alone(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    add("first", id="key")
    workers.take()
    add("before")
    add("second", id="key")
    lines = '{"type":"push","data":"in company"}\n{"type":"push","data":"third","id":"key"}'
    add(fields={"events": lines})
    add("one", id="new")
    add("other", id="new")
    add("behind")

    workers.take()

    assert stored() == ["first", "before", "one", "behind"]
    assert errors(valkey, stream) == [
        "id: was already used with different content; use a new key for a new event",
        "events[1].id: was already used with different content; use a new key for a new event",
        "id: was already used with different content; use a new key for a new event",
    ]


def test_what_only_the_database_refuses_is_found_and_dead_lettered(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = pipeline.accept

    def refuse_threes(events: Any, *, now: datetime) -> Any:
        if any(event.payload == b"3" for event in events):
            raise DataError("it does not like threes")
        return accept(events, now=now)

    monkeypatch.setattr(pipeline, "accept", refuse_threes)
    for number in range(8):
        add(number)

    workers.take()

    assert sorted(stored()) == [0, 1, 2, 4, 5, 6, 7]
    assert errors(valkey, stream) == ["The database rejected it: it does not like threes"]


def test_a_bug_that_one_entry_brings_to_light_does_not_stop_the_others(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reading.read

    def stumble(entry: Entry) -> Any:
        if b"2" in entry.fields[1]:
            raise KeyError("a bug")
        return read(entry)

    monkeypatch.setattr(reading, "read", stumble)
    for number in (1, 2, 3):
        add(number)

    workers.take()

    assert stored() == [1, 3]
    assert errors(valkey, stream) == ["Internal error: KeyError('a bug')"]


# Failures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OperationalError("away"), InternalError("read-only"), RuntimeError("a bug")])
def test_while_the_database_is_not_able_entries_stay_pending(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str, monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:  # fmt: skip
    def be_away(*_: Any, **__: Any) -> Any:
        raise error

    add(1)
    add(2, repository="nowhere")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "accept", be_away)
        for _ in range(3):
            with pytest.raises(type(error)):
                workers.take()
            assert counts(valkey, stream) == (0, 2, 0)

    workers.take()

    assert stored() == [1]
    assert counts(valkey, stream) == (0, 0, 1)


def test_a_database_connection_that_broke_costs_nothing(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    add(1)
    connection.connection.close()

    with pytest.raises(OperationalError):
        workers.take()
    connection.close()
    workers.take()

    assert stored() == [1]
    assert counts(valkey, stream) == (0, 0, 0)


def test_redis_emptied_between_any_two_steps_costs_only_what_was_in_it(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("before")
    workers.take()
    # Has the same effect here as FLUSHALL, which would affect tests running at the same time.
    valkey.delete(stream)
    add("after")
    assert workers.take() == 1

    add("stored as it vanishes")
    finish = Consumer.acknowledge

    def vanish(consumer: Consumer, entries: Any) -> None:
        valkey.delete(stream)
        finish(consumer, entries)

    with monkeypatch.context() as patch:
        patch.setattr(Consumer, "acknowledge", vanish)
        workers.take()
    add("again")
    workers.take_all()

    assert stored() == ["before", "after", "stored as it vanishes", "again"]
    assert counts(valkey, stream) == (0, 0, 0)


def test_ids_that_begin_again_are_no_repeats(forge: Forge, workers: Workers, valkey: Redis, stream: str) -> None:
    for data in ("before", "after"):
        valkey.xadd(stream, {"event": json.dumps({"type": "push", "data": data})}, id="1-1")
        workers.take_all()
        valkey.delete(stream)

    assert stored() == ["before", "after"]


def test_rubbish_under_the_streams_name_is_told_and_no_harm(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    valkey.delete(stream)
    valkey.set(stream, "rubbish")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        workers.take()

    valkey.delete(stream)
    add(1)
    workers.take()

    assert stored() == [1]


@contextmanager
def without_dead_letters(valkey: Redis, stream: str, *, why: str) -> Iterator[None]:
    """Make Redis refuse what is added to the dead-letter stream, meanwhile."""
    match why:
        case "no memory":
            valkey.config_set("maxmemory", "1")
        case "another type":
            valkey.set(dead_letter_stream(stream), "mistyped")
        case "no permission":
            valkey.execute_command("ACL", "SETUSER", "default", "resetkeys", f"~{stream}")
    try:
        yield
    finally:
        valkey.config_set("maxmemory", "0")
        valkey.execute_command("ACL", "SETUSER", "default", "allkeys")
        if why == "another type":
            valkey.delete(dead_letter_stream(stream))


@pytest.mark.usefixtures("own_valkey")
@pytest.mark.parametrize("why", ["no memory", "another type", "no permission"])
def test_a_redis_that_takes_no_dead_letters_goes_on_with_the_rest_and_loses_none(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str, why: str, monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:  # fmt: skip
    settings.HOOKHUB_LEASE = timedelta(hours=1)
    monkeypatch.setattr(reading, "FIRST_BATCH", 3)
    for number in range(3):
        add(number, repository="nowhere")
    add("published")

    with without_dead_letters(valkey, stream, why=why):
        for later in (PENDING_CHECK_INTERVAL, timedelta(0), PENDING_CHECK_INTERVAL):
            workers.take("second", later=later)
        assert stored() == ["published"]
    assert counts(valkey, stream) == (0, 3, 0)

    # The rest of the check that has found them, and the next one.
    for _ in range(2):
        workers.take("second")

    assert counts(valkey, stream) == (0, 0, 3)


# Consumers ----------------------------------------------------------------------------------------------------------


def names(valkey: Redis, stream: str) -> set[str]:
    return {consumer["name"].decode() for consumer in valkey.xinfo_consumers(stream, GROUP)}  # type: ignore[union-attr]


def test_consumers_that_are_gone_are_forgotten_unless_they_have_something_in_hand(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    gone, dead, here = (Consumer(valkey, stream=stream, name=name) for name in ("gone", "dead", "here"))
    for consumer in (gone, dead, here):
        add(consumer is dead)
        taken = consumer.new(1)
        if consumer is not dead:
            consumer.acknowledge(taken)

    assert here.deregister_idle(idle=DEREGISTER_AFTER) == 0
    assert here.deregister_idle(idle=timedelta(0)) >= 2
    assert names(valkey, stream) == {"dead"}
    dead.deregister()
    assert names(valkey, stream) == {"dead"}

    assert workers.take_all() == 1
    dead.deregister()
    assert "dead" not in names(valkey, stream)


def test_a_group_that_is_gone_has_nothing_to_take_over_and_nobody_to_forget(valkey: Redis, stream: str) -> None:
    consumer = Consumer(valkey, stream=stream, name="early")

    assert consumer.claim_stale(10, idle=timedelta(0), cursor=START) == (START, [])
    assert consumer.deregister_idle(idle=timedelta(0)) == 0
    consumer.deregister()
    assert dead_letters.count(valkey, stream) == Counts(waiting=0, in_hand=0, refused=0, oldest_at=None)


def test_the_first_to_look_makes_the_group_and_misses_nothing_published_before(
    forge: Forge, valkey: Redis, stream: str, add: Any, now: datetime
) -> None:
    add("early")
    workers = Workers(valkey, stream, now)

    workers.take("first")
    workers.take("second")

    assert stored() == ["early"]


def test_a_clock_that_was_set_back_does_not_keep_it_from_looking_behind(
    forge: Forge, workers: Workers, add: Any, valkey: Redis, stream: str
) -> None:
    add(1)
    Consumer(valkey, stream=stream, name="dead").new(1)
    workers.now -= timedelta(days=1)

    workers.take()

    assert stored() == [1]


def test_a_redis_that_is_reached_over_tcp_is_read_like_one_over_a_socket(
    stream: str, organization: Organization, settings: Settings, now: datetime
) -> None:
    parts = urlsplit(settings.REDIS_URL)
    number = parse_qs(parts.query)["db"][0]
    with Proxy(parts.path) as proxy:
        for protocol in ("", "?protocol=3", "?protocol=2"):
            with connect(f"redis://127.0.0.1:{proxy.port}/{number}{protocol}") as client:
                workers = Workers(client, stream, now)
                workers.take()
                client.xadd(stream, {"event": '{"type":"push","data":{}}'})

                assert workers.take_all() == 1, protocol

    assert Event.objects.count() == 3

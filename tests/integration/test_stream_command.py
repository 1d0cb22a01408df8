"""``manage.py stream``: its counts, the dead letters, and requeuing them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from freezegun import freeze_time
from pytest_django import Settings
from redis import Redis

from deliveries.models import Event, Repository
from hookhub.publishing.redis_stream import dead_letters
from hookhub.publishing.redis_stream.consumer import Consumer, connect, dead_letter_stream
from hookhub.publishing.redis_stream.reader import Reader
from tests.story import Forge

pytestmark = pytest.mark.django_db


@pytest.fixture
def valkey(settings: Settings, stream: str) -> Iterator[Redis]:
    with connect(settings.REDIS_URL) as client:
        yield client


@pytest.fixture
def reader(valkey: Redis, stream: str, now: datetime) -> Reader:
    made = Consumer(valkey, stream=stream, name="reader")
    made.new(1)
    return Reader(made, clock=lambda: now)


def run(*arguments: str, errors: StringIO | None = None) -> str:
    out = StringIO()
    call_command("stream", *arguments, stdout=out, stderr=errors or StringIO(), no_color=True)
    return out.getvalue()


def complaint(*arguments: str) -> str:
    with pytest.raises(CommandError) as failure:
        run(*arguments)
    return str(failure.value)


def add(valkey: Redis, stream: str, **event: object) -> str:
    event = {"type": "push", "data": {}, **event}
    return str(valkey.xadd(stream, {"event": json.dumps(event)}).decode())  # type: ignore[union-attr]


@pytest.fixture
def dead_letter_ids(forge: Forge, reader: Reader, valkey: Redis, stream: str, now: datetime) -> list[str]:
    """Return the ids of three dead-lettered entries."""
    for number in range(3):
        add(valkey, stream, data=number, repository="gadgets")
    reader.take()
    return [each.id for each in dead_letters.iterate(valkey, stream)]


def test_a_stream_that_nobody_has_used_is_empty(stream: str) -> None:
    assert run() == f"{stream}: 0 waiting, 0 pending, 0 dead-lettered\n"
    assert run("refused") == "There are no dead letters.\n"


def test_the_counts_say_what_waits_and_since_when(
    dead_letter_ids: list[str], reader: Reader, valkey: Redis, stream: str
) -> None:
    # Ids of that day are lower than today's, so they can only be added to a new stream.
    valkey.delete(stream)
    valkey.xadd(stream, {"event": "{}"}, id="1772625600000-0")
    valkey.xadd(stream, {"event": "{}"}, id="1772625600000-1")
    while not reader.consumer.new(1):
        pass

    with freeze_time(datetime(2026, 3, 4, 13, 30, tzinfo=UTC)):
        first, second = run().splitlines()
        counts = json.loads(run("--json"))

    assert first == (
        f"{stream}: 1 waiting, 1 pending, 3 dead-lettered. The oldest is 1:30:00 old. Is a worker running?"
    )
    assert "`manage.py stream refused`" in second
    assert counts == {
        "stream": stream, "waiting": 1, "in_hand": 1, "refused": 3, "oldest_at": "2026-03-04T12:00:00+00:00",
    }  # fmt: skip


def test_the_refused_are_listed_with_their_errors(dead_letter_ids: list[str], stream: str, now: datetime) -> None:
    lines = run("refused", "--limit", "2").splitlines()

    error = "repository: acme has no such repository; create it with POST /v1/repositories"
    assert lines[0] == f"{dead_letter_ids[0]}  {now:%Y-%m-%d %H:%M:%S}  {error}"
    assert lines[1] == '    event {"type": "push", "data": 0, "repository": "gadgets"}'
    assert lines[2].startswith(dead_letter_ids[1])
    assert lines[4:] == ["… and 1 more; raise --limit to see them."]
    assert len(run("refused", "--limit", str(10**30)).splitlines()) == 6


def test_one_is_shown_in_full(reader: Reader, forge: Forge, valkey: Redis, stream: str, now: datetime) -> None:
    content = b'{"type": "push", "data": "' + b"x" * 500 + b"\x1b[2J\xff"
    entry = valkey.xadd(stream, {"event": content, "organization": "acme"})
    reader.take()
    [each] = dead_letters.iterate(valkey, stream)

    shown = run("show", each.id)

    assert shown.splitlines() == [
        f"{each.id}  dead-lettered {now.isoformat()}  published as {entry.decode()}",  # type: ignore[union-attr]
        "The body is not valid UTF-8 at byte 530.",
        'event: {"type": "push", "data": "' + "x" * 500 + "\\x1b[2J\\xff",
        "organization: acme",
    ]
    assert complaint("show", "1-1") == "1-1 is not a dead letter."
    assert "Specify an id" in complaint("show")


def test_after_a_mend_all_are_put_back_and_published(
    dead_letter_ids: list[str], reader: Reader, valkey: Redis, stream: str, forge: Forge, now: datetime
) -> None:
    Repository.objects.create(organization=forge.organization, name="gadgets")

    assert run("retry", "--all") == f"Moved 3 back to {stream}; the workers will read them again.\n"
    assert run() == f"{stream}: 3 waiting, 0 pending, 0 dead-lettered\n"
    reader.take()

    assert [bytes(event.payload) for event in Event.objects.order_by("id")] == [b"0", b"1", b"2"]
    assert run() == f"{stream}: 0 waiting, 0 pending, 0 dead-lettered\n"


def test_some_are_put_back_or_deleted_by_their_ids(dead_letter_ids: list[str], stream: str) -> None:
    errors = StringIO()

    assert run("retry", dead_letter_ids[1], "1-1", errors=errors).startswith("Moved 1 back")
    assert errors.getvalue() == "1-1 is not a dead letter.\n"
    assert run("delete", dead_letter_ids[0], dead_letter_ids[0]) == "Deleted 1.\n"

    assert run().startswith(f"{stream}: 1 waiting, 0 pending, 1 dead-lettered\n")
    assert run("delete", "--all") == "Deleted 1.\n"


def test_two_operators_at_once_put_an_entry_back_once(
    dead_letter_ids: list[str], valkey: Redis, stream: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries_of, others = dead_letters.entries_of, []

    def be_overtaken(replied: object) -> object:
        """Simulate another operator acting between the read and the transaction."""
        if not others:
            others.append("on its way")
            with connect(settings.REDIS_URL) as other:
                others.append(str(dead_letters.retry(other, stream, dead_letter_ids[0])))
        return entries_of(replied)  # type: ignore[arg-type]

    monkeypatch.setattr(dead_letters, "entries_of", be_overtaken)

    assert not dead_letters.retry(valkey, stream, dead_letter_ids[0])
    assert others == ["on its way", "True"]
    assert valkey.xlen(stream) == 1


def test_what_redis_does_not_put_back_stays_a_dead_letter(
    dead_letter_ids: list[str], valkey: Redis, stream: str
) -> None:
    valkey.delete(stream)
    valkey.set(stream, "mistyped")

    assert "WRONGTYPE" in complaint("retry", "--all")

    valkey.delete(stream)
    assert dead_letters.count(valkey, stream).refused == len(dead_letter_ids)


def test_what_is_dead_lettered_meanwhile_is_not_put_back_with_all(
    dead_letter_ids: list[str], valkey: Redis, stream: str, reader: Reader, now: datetime
) -> None:
    listed = []
    for each in dead_letters.iterate(valkey, stream):
        listed.append(each.id)
        dead_letters.retry(valkey, stream, each.id)
        reader.take()

    assert listed == dead_letter_ids
    assert dead_letters.count(valkey, stream).refused == 3


def test_what_a_person_wrote_among_the_refused_is_listed_too(valkey: Redis, stream: str) -> None:
    valkey.xadd(dead_letter_stream(stream), {"event": "{}"})

    assert "not written by a worker" in run("refused")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["retry"], "Specify ids from `stream refused`, or --all."),
        (["delete", "1-1", "--all"], "Specify ids from `stream refused`, or --all."),
        (["show", "last"], "'last' is not an id such as 1772625600000-0; `stream refused` lists the ids."),
        (["delete", "1"], "'1' is not an id"),
    ],
)
def test_what_is_typed_wrong_is_told(stream: str, arguments: list[str], expected: str) -> None:
    assert expected in complaint(*arguments)


def test_without_redis_or_switched_off_it_says_so(stream: str, settings: Settings, tmp_path: Path) -> None:
    url, settings.REDIS_URL = settings.REDIS_URL, f"unix://{tmp_path}/nobody.sock?db=0"
    assert complaint().startswith("Redis failed: ")
    settings.REDIS_URL = url

    name, settings.HOOKHUB_STREAM = settings.HOOKHUB_STREAM, ""
    assert "is disabled (HOOKHUB_STREAM=off)" in complaint()
    settings.HOOKHUB_STREAM = name

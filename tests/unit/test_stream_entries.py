"""Parsing entries of the stream into events: which are valid, which are not and why, and stable keys."""

from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings

from hookhub.publishing.redis_stream.entries import Entry, InvalidEntry, ParsedEntry, moment_of, read
from hookhub.publishing.redis_stream.reader import MAX_READ, MAX_READ_BYTES, next_count

ID = "1772625600123-4"
EVENT = b'{"type": "push", "data": {}}'


def entry(*fields: bytes, entry_id: str = ID) -> Entry:
    return Entry(entry_id, fields)


def readable(*fields: bytes, entry_id: str = ID) -> ParsedEntry:
    outcome = read(entry(*fields, entry_id=entry_id))
    assert isinstance(outcome, ParsedEntry), outcome
    return outcome


def error(*fields: bytes) -> str:
    outcome = read(entry(*fields))
    assert isinstance(outcome, InvalidEntry), outcome
    assert outcome.entry == entry(*fields)
    return outcome.error


def keys(outcome: ParsedEntry) -> list[str | None]:
    return [event.key for event in outcome.parsed.events]


def test_an_events_data_keeps_its_bytes() -> None:
    data = '{"b" :1,"a":2, "a":3e400,"ü":"\\u0000 🎉"  }'.encode()

    outcome = readable(b"event", b' { "type":"push" , "repository":"acme/widgets","data": %b } ' % data)

    [event] = outcome.parsed.events
    assert (event.type, event.repository, event.payload) == ("push", "acme/widgets", data)
    assert (outcome.organization, outcome.parsed.is_batch) == (None, False)


@pytest.mark.parametrize(
    "content",
    [
        b'[{"type":"a","data":1},{"type":"b","data":2}]',
        b'\r\n [ {"type":"a","data":1} , {"type":"b","data":2} ]\n',
        b'{"type":"a","data":1}\n{"type":"b","data":2}',
        b'\n{"type":"a","data":1}\r\n\r\n{"type":"b","data":2}\n',
    ],
    ids=["array", "spaced array", "lines", "spaced lines"],
)
def test_several_events_are_an_array_or_lines(content: bytes) -> None:
    outcome = readable(b"events", content)

    assert [(event.type, event.payload) for event in outcome.parsed.events] == [("a", b"1"), ("b", b"2")]
    assert outcome.parsed.is_batch


@pytest.mark.parametrize(
    ("fields", "organization"),
    [
        ([b"event", b'{"type":"a","data":1}'], None),
        ([b"event", b'{"type":"a","data":1}', b"organization", b"acme"], "acme"),
        ([b"organization", b"acme", b"event", b'{"type":"a","data":1,"organization":"acme"}'], "acme"),
        ([b"event", b'{"type":"a","data":1,"organization":"acme"}'], "acme"),
        ([b"events", b'[{"type":"a","data":1,"organization":"acme"},{"type":"a","data":1}]'], "acme"),
    ],
    ids=["none", "field", "both", "event", "some events"],
)
def test_the_organization_is_named_by_the_entry_or_by_its_events(fields: list[bytes], organization: str) -> None:
    assert readable(*fields).organization == organization


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([b"data", b"{}"], "data: is not a known field of an entry; known fields: event, events, organization, hops"),
        ([b"event", EVENT, b"\xff\n", b""], "\\xff\n: is not a known field of an entry; known fields: event, events"),
        ([b"event", EVENT, b"events", EVENT], "An entry must have either `event` (a JSON object) or `events`"),
        ([b"organization", b"acme"], "An entry must have either `event`"),
        ([b"event", EVENT, b"event", EVENT], "A field is repeated"),
        ([b"event", b""], "The body is not valid JSON"),
        ([b"event", b"\xff"], "The body is not valid UTF-8 at byte 0."),
        ([b"event", EVENT + EVENT], "unexpected data after the end"),
        ([b"event", b"[" + EVENT + b"]"], "event: must be a JSON object; use `events` to publish several"),
        ([b"event", b"[" * 100_000], "The body is"),
        ([b"event", b'{"data":1}'], "type: is required"),
        ([b"event", b'{"type":"webhook.disabled","data":1}'], "type: must not start with 'webhook.', which is"),
        ([b"event", b'{"type":"a","data":1,"\\ud800":1}'], "\\ud800: is not a known field of an event"),
        ([b"events", b"[]"], "The body contains no event"),
        ([b"events", b"[" + EVENT + b',{"type":"a b","data":1}]'], "events[1].type: use up to 200 letters"),
        ([b"events", b"[" + b",".join([EVENT] * 1001) + b"]"], "A request may contain at most 1,000 events"),
        ([b"events", EVENT + b"\nnonsense"], "in line 2"),
        ([b"events", b'[{"type":"a","data":1,"id":"x"},{"type":"a","data":1,"id":"x"}]'], "id: is used by two events"),
        ([b"event", EVENT, b"organization", b""], "organization: must be the slug"),
        ([b"event", EVENT, b"organization", b"\xff"], "organization: must be the slug"),
        ([b"event", EVENT, b"organization", b"a\0"], "organization: must be the slug"),
        ([b"event", b'{"type":"a","data":1,"organization":"b"}', b"organization", b"a"],
         "belong to the same organization, not to a and b"),
        ([b"events", b'[{"type":"a","data":1,"organization":"b"},{"type":"a","data":1,"organization":"c"}]'],
         "organization: all events of an entry must belong to the same organization, not to b and c"),
    ],
)  # fmt: skip
def test_what_will_not_do_is_refused_with_its_reason(fields: list[bytes], expected: str) -> None:
    found = error(*fields)

    assert expected in found
    assert found.encode()


def test_an_entry_longer_than_a_request_may_be_is_refused_unread(settings: Settings) -> None:
    settings.HOOKHUB_REQUEST_LIMIT = 20

    assert error(b"event", b"[" * 21) == "The entry is 21 bytes long; the limit is 20."


def test_data_longer_than_allowed_is_refused(settings: Settings) -> None:
    settings.HOOKHUB_PAYLOAD_LIMIT = 10

    assert error(b"event", b'{"type":"a","data":"0123456789"}') == "data: must be at most 10 bytes"


# Keys ---------------------------------------------------------------------------------------------------------------


def test_an_events_own_id_is_its_key() -> None:
    outcome = readable(b"events", b'[{"type":"a","data":1,"id":"one"},{"type":"a","data":1}]')

    first, second = keys(outcome)
    assert first == "one"
    assert second is not None
    assert second.startswith(f"stream:{ID}:")


def test_a_key_made_up_is_the_same_whenever_the_entry_is_read() -> None:
    assert keys(readable(b"event", EVENT)) == keys(readable(b"event", EVENT))
    assert len(set(keys(readable(b"events", EVENT + b"\n" + EVENT)))) == 2


def test_another_entry_has_another_key_even_when_its_id_comes_again() -> None:
    assert keys(readable(b"event", EVENT)) != keys(readable(b"event", EVENT, entry_id="1772625600123-5"))
    assert keys(readable(b"event", EVENT)) != keys(readable(b"event", EVENT + b" "))


def test_the_longest_id_makes_a_key_that_fits() -> None:
    entry_id = f"{2**64 - 1}-{2**64 - 1}"

    assert all(key and len(key) <= 255 for key in keys(readable(b"events", (EVENT + b"\n") * 999, entry_id=entry_id)))


# Times --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry_id", "expected"),
    [
        ("1772625600123-4", datetime(2026, 3, 4, 12, 0, 0, 123000, tzinfo=UTC)),
        ("1-1", None),
        ("0-1", None),
        ("1772712001000-0", None),
        (f"{2**64 - 1}-1", None),
        ("nonsense", None),
    ],
    ids=["a time", "chosen", "zero", "a future", "endless", "no id"],
)
def test_an_entrys_id_tells_its_time_unless_it_cannot(entry_id: str, expected: datetime | None) -> None:
    now = datetime(2026, 3, 5, 12, 0, 0, tzinfo=UTC)

    assert moment_of(entry_id, now=now) == (expected or now)
    assert moment_of(entry_id, now=now + timedelta(days=3000)) == now + timedelta(days=3000)


# Counts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken", "size", "before", "expected"),
    [
        (16, 100, 16, 32),
        (400, 100, 400, MAX_READ),
        (1, 0, 1, 2),
        (16, MAX_READ_BYTES // 4, 16, 4),
        (1, 10 * MAX_READ_BYTES, 500, 1),
    ],
    ids=["grows", "to a limit", "from nothing", "shrinks for long entries", "never to nothing"],
)
def test_a_batch_is_neither_many_times_the_last_nor_too_long(taken: int, size: int, before: int, expected: int) -> None:
    assert next_count([entry(b"x" * size) for _ in range(taken)], before=before) == expected

"""Published bodies that exceed a limit: parsing stops as soon as that is known, and nothing is parsed twice."""

import json
import tracemalloc
from typing import Any

import pytest

from hookhub.http.refusals import Refusal
from hookhub.publishing import event_objects, parse

JSON, NDJSON = "application/json", "application/x-ndjson"
EVENT = b'{"type":"push","data":1}'


def refusal(content: bytes, content_type: str = JSON) -> Refusal:
    with pytest.raises(Refusal) as raised:
        parse.read(content, content_type)
    return raised.value


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        pytest.param(b"[" + b"{}," * 300_000 + b"{}]", JSON, 422, id="empty objects"),
        pytest.param(b"{}\n" * 300_000, NDJSON, 422, id="empty objects in lines"),
        pytest.param(b"\n" * 900_000, NDJSON, 400, id="blank lines"),
        pytest.param(b" " * 900_000, JSON, 400, id="blanks"),
        pytest.param((EVENT + b"\n") * 40_000, NDJSON, 413, id="events in lines"),
        pytest.param(b"[" + EVENT + b"," + EVENT * 40_000, JSON, 400, id="events without commas"),
        pytest.param(b'{"type":"a","data":1,' + b'"x":0,' * 150_000, JSON, 400, id="one member over and over"),
        pytest.param(b"[" * 900_000, JSON, 400, id="brackets"),
    ],
)
def test_a_flood_is_refused_in_little_more_memory_than_it_has(content: bytes, content_type: str, status: int) -> None:
    tracemalloc.start()
    found = refusal(content, content_type)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found.status_code == status
    assert peak < 3 * len(content) + 1_000_000


def test_reading_stops_at_the_first_event_too_many() -> None:
    # The rest is not JSON, and must not be parsed.
    assert refusal((EVENT + b"\n") * 1001 + b"nonsense", NDJSON).status_code == 413
    assert refusal(b"[" + (EVENT + b",") * 1001 + b"nonsense").status_code == 413
    assert len(parse.read((EVENT + b"\n") * 1000, NDJSON).events) == 1000


def test_reading_stops_where_a_value_is_too_long(settings: Any) -> None:
    settings.HOOKHUB_PAYLOAD_LIMIT = 100_000
    found = refusal(b'[{"type":"a","data":1},{"type":"a","data":[' + b"{}," * 60_000 + b"nonsense")

    assert (found.status_code, found.fields) == (413, {"events[1].data": "must be at most 100,000 bytes"})
    found = refusal(b'{"data":1,"type":"' + b"x" * 200_000 + b'"}')
    assert (found.status_code, found.fields) == (413, {"type": "must be at most 65,536 bytes"})


@pytest.mark.parametrize(
    "value",
    [b"1" * 4000, b'"' + b"x" * 4094 + b'"', b'"' + b"x" * 4095 + b'"', b'"' + b"\\u00e9" * 9000 + b'"',
     b"[" + b"1," * 40_000 + b"1]", b"[" * 150 + b"]" * 150, b"null", b'"' + b"x" * 199_998 + b'"'],
)  # fmt: skip
def test_a_value_in_a_long_body_is_read_as_in_a_short_one(settings: Any, value: bytes) -> None:
    settings.HOOKHUB_PAYLOAD_LIMIT = 200_000
    body = b'{"type":"push","data":' + value + b"}"

    (first, second) = parse.read(body + b"\n" + body + b" " * 300_000, NDJSON).events

    assert (first.payload, second.payload) == (value, value)
    assert first.data == second.data == json.loads(value)


def test_a_number_is_not_cut_where_a_window_ends(settings: Any) -> None:
    settings.HOOKHUB_PAYLOAD_LIMIT = 100_000
    number = b"1." + b"5" * 5000

    (event,) = parse.read(b'{"type":"push","data":' + number + b"}" + b" " * 200_000, JSON).events

    assert event.payload == number


def test_a_slip_in_a_long_body_is_told_at_its_place(settings: Any) -> None:
    settings.HOOKHUB_PAYLOAD_LIMIT = 100
    body = b'{"type":"push","data":[1,,2]' + b" " * 200 + b"}"

    assert refusal(body).message == "The body is not valid JSON: Expecting value: line 1 column 26 (char 25)."


def test_values_are_kept_for_the_first_of_the_data_only_and_read_again_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parse, "MAX_VALUES_KEPT", 20)
    lines = b'{"type":"issues","data":{"action":"opened"}}\n' * 2

    first, second = parse.read(lines, NDJSON).events

    assert (first.value, second.value) == ({"action": "opened"}, parse.UNREAD)
    assert (first.data, second.data) == ({"action": "opened"}, {"action": "opened"})
    assert first.topics == second.topics == ("*", "issues", "issues.opened")


def test_names_that_are_no_fields_are_cut_and_their_values_are_not_kept() -> None:
    found = refusal(b'{"type":"a","data":1,"' + b"x" * 1000 + b'":1}')

    assert list(found.fields) == ["x" * 100 + "…"]
    objects, _ = event_objects.document('{"unknown":[1,2,3]}', most=100)
    assert list(objects) == [{"unknown": (None, "")}]


def test_a_body_is_read_once_however_often_it_is_asked_for() -> None:
    for body in (EVENT, b"nonsense"):
        environ: dict[str, Any] = {}
        found = []
        for content in (body, b"never read"):
            try:
                found.append(parse.read_once(environ, content, JSON))
            except Refusal as refused:
                found.append(refused)
        assert found[0] is found[1]


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000])
def test_space_between_events_is_passed_over_however_long_it_is(size: int) -> None:
    space = b" \n" * (size // 2) + b" " * (size % 2)
    event = b'{"type":"push","data":1}'

    lined = parse.read(space + event + b"\n" + space + event + space, "application/x-ndjson")
    listed = parse.read(space + b"[" + space + event + space + b"," + space + event + b"]" + space, "application/json")

    assert [each.payload for each in lined.events] == [each.payload for each in listed.events] == [b"1", b"1"]

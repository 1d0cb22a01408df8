"""The admin shows durations in one unit, and untrusted bytes with nothing hidden."""

from datetime import datetime, timedelta

import pytest

from deliveries.plain_text import printable
from hookhub.formatting import pretty, relative, span


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain\n\ttext", "plain\n\ttext"),
        (b"line\r\nline", "line\nline"),
        (b"\r", r"\r"),
        ("Zoë 🎉".encode(), "Zoë 🎉"),
        (b"\x00\x07\x1b[2J\x7f", r"\x00\x07\x1b[2J\x7f"),
        (b"\xff\xfe\xc3", r"\xff\xfe\xc3"),
        ("a\u202eb\u200bc\ufeff".encode(), r"a\u202eb\u200bc\ufeff"),
        ("\ud800", r"\ud800"),
    ],
)
def test_nothing_stays_hidden_in_what_is_shown(raw: bytes | str, shown: str) -> None:
    assert printable(raw) == shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"a":[1,"\xc3\xab"]}', '{\n  "a": [\n    1,\n    "ë"\n  ]\n}'),
        (b"not json", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (b"9" * 5000, None),
    ],
)
def test_json_is_set_out_for_reading_where_that_can_be_done(raw: bytes, shown: str | None) -> None:
    assert pretty(raw) == shown


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(microseconds=300), "<1 ms"),
        (timedelta(milliseconds=380), "380 ms"),
        (timedelta(seconds=90), "90 s"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=4, hours=23), "4 d"),
    ],
)
def test_a_span_is_given_in_one_unit(length: timedelta, shown: str) -> None:
    assert span(length) == shown


def test_a_moment_is_said_from_where_one_stands(now: datetime) -> None:
    assert relative(now - timedelta(minutes=5), now=now) == "5 min ago"
    assert relative(now + timedelta(hours=3), now=now) == "in 3 h"
    assert relative(now, now=now) == "now"

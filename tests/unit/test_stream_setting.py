"""HOOKHUB_STREAM: a name, or off."""

import pytest

from hookhub.service.connections import stream
from hookhub.service.settings import HOOKHUB_QUEUE, HOOKHUB_STREAM


def test_without_a_setting_the_stream_is_named_after_the_queue() -> None:
    assert f"{HOOKHUB_QUEUE}:events" == HOOKHUB_STREAM


@pytest.mark.parametrize(
    ("text", "expected"),
    [("acme:events", "acme:events"), ("off", ""), ("OFF", ""), ("no", ""), ("0", "")],
)
def test_a_name_is_taken_as_it_is_and_off_is_none(text: str, expected: str) -> None:
    assert stream(text, queue=HOOKHUB_QUEUE) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("two words", "must not contain spaces"),
        ("a\x00b", "control characters"),
        (HOOKHUB_QUEUE, "must differ from HOOKHUB_QUEUE"),
    ],
    ids=["space", "control", "queue"],
)
def test_a_name_that_will_not_do_says_why(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        stream(text, queue=HOOKHUB_QUEUE)

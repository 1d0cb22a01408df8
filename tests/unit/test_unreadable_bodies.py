"""Bodies that the JSON parser rejects although other parsers accept them."""

import pytest

from hookhub.http.refusals import Refusal
from hookhub.publishing import parse

JSON, NDJSON = "application/json", "application/x-ndjson"
BOM = b"\xef\xbb\xbf"
LONG = b"9" * 4301


@pytest.mark.parametrize(
    ("content", "content_type", "at"),
    [
        pytest.param(b'{"type":"push","data":' + LONG + b"}", JSON, "22", id="the data"),
        pytest.param(b'{"type":"push","data":[1.' + LONG + b",-" + LONG + b"]}", JSON, "4,327", id="after a fraction"),
        pytest.param(
            b'[{"type":"push","data":"' + LONG + b'\\""},{"data":' + LONG + b"}]", JSON, "4,338", id="after a string"
        ),
        pytest.param(b'{"type":"push","data":1}\n{"data":' + LONG + b"}", NDJSON, "33", id="in a line"),
        pytest.param(BOM + b'{"x":' + LONG + b"}", JSON, "5", id="after a byte order mark"),
    ],
)
def test_a_number_of_too_many_digits_is_named_and_not_called_no_json(
    content: bytes, content_type: str, at: str
) -> None:
    with pytest.raises(Refusal) as raised:
        parse.read(content, content_type)

    detail = f"The number at character {at} of the body has more than 4,300 digits; send it as a string."
    assert (raised.value.status_code, str(raised.value.detail)) == (400, detail)


def test_a_number_of_as_many_digits_as_are_allowed_is_kept_to_the_byte() -> None:
    (event,) = parse.read(b'{"type":"push","data":' + LONG[1:] + b"}", JSON).events

    assert event.payload == LONG[1:]


@pytest.mark.parametrize("content_type", [JSON, NDJSON])
def test_a_leading_byte_order_mark_is_ignored(content_type: str) -> None:
    (event,) = parse.read(BOM + b'{"type":"push","data":"\xef\xbb\xbf"}', content_type).events

    assert (event.type, event.payload) == ("push", b'"\xef\xbb\xbf"')


def test_what_is_no_json_is_still_said_to_be_none() -> None:
    with pytest.raises(Refusal, match="The body is not valid JSON: Expecting value"):
        parse.read(b'{"type":,"data":' + LONG + b"}", JSON)

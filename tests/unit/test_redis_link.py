"""The commands and replies of a link to Redis, as bytes."""

import pytest
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

from deliveries.redis_link import is_wrong_type, pack, parse_reply


def test_a_command_is_packed_as_an_array_of_strings() -> None:
    assert pack("SET", "clé", 1) == b"*3\r\n$3\r\nSET\r\n$4\r\ncl\xc3\xa9\r\n$1\r\n1\r\n"


# label: (bytes, the reply)
REPLIES = {
    "a number": (b":-3\r\n", -3),
    "a status": (b"+OK\r\n", "OK"),
    "bytes": (b"$4\r\na\r\nb\r\n", b"a\r\nb"),
    "no bytes": (b"$0\r\n\r\n", b""),
    "null": (b"$-1\r\n", None),
    "no array": (b"*-1\r\n", None),
    "an array": (b"*3\r\n$1\r\nk\r\n*1\r\n:1\r\n$-1\r\n", [b"k", [1], None]),
}


@pytest.mark.parametrize(("data", "reply"), REPLIES.values(), ids=REPLIES)
def test_a_reply_is_parsed_once_it_is_complete(data: bytes, reply: object) -> None:
    assert parse_reply(data) == (reply, len(data))
    assert parse_reply(b"+OK\r\n" + data + b"+O", 5) == (reply, 5 + len(data))
    assert [parse_reply(data[:end]) for end in range(len(data))] == [None] * len(data)


def test_an_error_is_a_reply() -> None:
    parsed = parse_reply(b"-WRONGTYPE Operation\r\n")

    assert parsed is not None
    assert isinstance(parsed[0], ResponseError)
    assert is_wrong_type(parsed[0])
    assert not is_wrong_type(ResponseError("OOM"))
    assert not is_wrong_type("WRONGTYPE")


def test_what_is_no_reply_of_redis_is_an_error_of_the_connection() -> None:
    with pytest.raises(Lost, match="unknown reply"):
        parse_reply(b"HTTP/1.1 400\r\n")

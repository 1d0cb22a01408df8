"""Reads JSON texts strictly, and says where one is malformed."""

import codecs
import json
import re
import sys
from typing import NoReturn

from hookhub.http.refusals import Refusal, bad_request


def without_bom(content: bytes) -> bytes:
    """Return a body without the byte order mark that some Windows programs put first, as RFC 8259 allows."""
    return content.removeprefix(codecs.BOM_UTF8)


def unreadable(error: ValueError, text: str) -> Refusal:
    """Return the 400 for a text that the JSON parser rejected with ``error``."""
    reason = error.__cause__ or error
    # Python does not convert very long integers, because that takes quadratic time, and does not say where it met one.
    if not isinstance(reason, json.JSONDecodeError) and (at := position_of_long_integer(text)) is not None:
        most = sys.get_int_max_str_digits()
        return bad_request(
            f"The number at character {at:,} of the body has more than {most:,} digits; send it as a string."
        )
    return bad_request(f"The body is not valid JSON: {error}.")


# A string, or a number, which is an integer if its last group is empty.
_string_or_number = re.compile(r'"(?:[^"\\]|\\.)*"|-?([0-9]+)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)', re.DOTALL)


def position_of_long_integer(text: str) -> int | None:
    """Return the offset, from 0, of the first integer with more digits than Python converts, or None."""
    most = sys.get_int_max_str_digits()
    for found in _string_or_number.finditer(text):
        if found[1] and not found[2] and len(found[1]) > most:
            return found.start()
    return None


def refuse_constant(name: str) -> NoReturn:
    """Raise ValueError for NaN and Infinity, which Python's parser accepts although JSON does not have them."""
    raise ValueError(f"{name} is not a JSON value")

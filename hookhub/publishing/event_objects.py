"""Parses the objects of a published body one by one, and stops as soon as one of them exceeds a limit."""

import json
import re
from collections.abc import Iterator

from hookhub.http.json_texts import refuse_constant
from hookhub.http.refusals import bad_request

FIELDS = ("type", "data", "repository", "organization", "id", "timestamp", "trace")
# Each unknown member of an event gets a row in the error response, so their number is limited.
MAX_MEMBERS = 100
# Characters of a field other than the data: more than any of them may have, so that the error can state that field's
# limit.
MAX_SHORT_FIELD = 64 * 1024
# A value in a long text is first decoded within a window of this many characters: most are short, and copying a
# megabyte for each would cost more than parsing it.
WINDOWS = (4096, 64 * 1024)
# An error so close to the end of a window may be caused by the cut: literals and escapes are shorter.
CUT_WITHIN = 16

Member = tuple[object, str]
"""A member's value and its source text."""

NOT_KEPT: Member = (None, "")

_decoder = json.JSONDecoder(parse_constant=refuse_constant)
# A match holds the GIL, so no other thread of the process can run meanwhile.
MAX_SPACE_IN_ONE_LOOK = 64 * 1024
_space = re.compile(rf"[ \t\r\n]{{0,{MAX_SPACE_IN_ONE_LOOK}}}")
# A member's name as it is usually written, with its colon; and what follows a value. One match each, because going
# character by character would cost more than parsing the values. Neither matches more white space than an indented
# document has: ``_skip`` passes over that in bounded matches.
_SOME_SPACE = r"[ \t\r\n]{0,64}"
_plain_name = re.compile(rf'"([^"\\\x00-\x1f]{{0,255}})"{_SOME_SPACE}:{_SOME_SPACE}(?![ \t\r\n])')
_after_value = re.compile(rf"{_SOME_SPACE}(?:(}})|,{_SOME_SPACE}(?![ \t\r\n]))")


class TooLong(Exception):
    """A member's value has more characters than it may have bytes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def document(text: str, *, most: int) -> tuple[Iterator[dict[str, Member]], bool]:
    """Return an iterator over the objects of a JSON text, and whether the text is an array of them.

    The iterator raises ValueError where the text is not JSON, TooLong for a value longer than ``most``, and a 400 for
    an object with too many members.
    """
    start = _skip(text, 0)
    if text[start : start + 1] == "[":
        return _array(text, start, most), True
    return _single(text, start, most), False


def lines(text: str, *, most: int) -> Iterator[dict[str, Member]]:
    """Yield the objects of a text with one on each line; raise as the iterator of ``document`` does."""
    # One step skips all blank lines in a row.
    at = _skip(text, 0)
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end]
        try:
            found, stop = _object(line, 0, most)
            _expect_end(line, stop)
        except ValueError as error:
            number = text.count("\n", 0, at) + 1
            raise ValueError(f"in line {number}: {error}") from error
        yield found
        at = _skip(text, end)


def _single(text: str, start: int, most: int) -> Iterator[dict[str, Member]]:
    found, end = _object(text, start, most)
    _expect_end(text, end)
    yield found


def _array(text: str, start: int, most: int) -> Iterator[dict[str, Member]]:
    """Yield the objects of an array, starting at its bracket."""
    at = _skip(text, start + 1)
    if text[at : at + 1] == "]":
        _expect_end(text, at + 1)
        return
    while True:
        found, at = _object(text, at, most)
        yield found
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            _expect_end(text, at + 1)
            return
        at = _skip(text, _expect(text, at, ","))


def _object(text: str, start: int, most: int) -> tuple[dict[str, Member], int]:
    """Parse an object from its brace on; return its members, each field with its source text, and where it ends."""
    found: dict[str, Member] = {}
    is_short = len(text) <= most
    at = _skip(text, _expect(text, start, "{"))
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        plain = _plain_name.match(text, at)
        name, begin = (plain[1], plain.end()) if plain else _name(text, at)
        if is_short:
            value, at = _decoder.raw_decode(text, begin)
        else:
            value, at = _value(text, begin, name, most if name == "data" else min(most, MAX_SHORT_FIELD))
        if name in found:
            raise ValueError(f'duplicate member "{name[:100]}"')
        # Only the name of an unknown member matters, and many long values would take much memory.
        found[name] = (value, text[begin:at]) if name in FIELDS else NOT_KEPT
        if len(found) > MAX_MEMBERS:
            raise bad_request(f"An event has more than {MAX_MEMBERS} members; known members: {', '.join(FIELDS)}.")
        after = _after_value.match(text, at)
        is_last, at = (bool(after[1]), after.end()) if after else _after(text, at)
        if is_last:
            return found, at


def _value(text: str, begin: int, name: str, most: int) -> tuple[object, int]:
    """Parse a value of at most ``most`` characters; return it and where it ends. Raise TooLong for a longer one."""
    for size in (*(size for size in WINDOWS if size <= most), most + 1):
        window = text[begin : begin + size]
        try:
            value, end = _decoder.raw_decode(window)
        except json.JSONDecodeError as error:
            is_whole = begin + len(window) >= len(text)
            if is_whole or (error.pos < len(window) - CUT_WITHIN and not error.msg.startswith("Unterminated")):
                raise json.JSONDecodeError(error.msg, text, begin + error.pos) from error
            continue
        # A number at the very end of the window may continue after it.
        if end < len(window) or begin + end == len(text):
            return value, begin + end
    raise TooLong(name)


def _name(text: str, start: int) -> tuple[str, int]:
    """Parse a member's name, however it is written; return it and where its value starts."""
    _expect(text, start, '"')
    name, at = _decoder.raw_decode(text, start)
    return name, _skip(text, _expect(text, _skip(text, at), ":"))


def _after(text: str, at: int) -> tuple[bool, int]:
    """Parse what follows a value, however it is written; return whether the object ends, and where to continue."""
    at = _skip(text, at)
    if text[at : at + 1] == "}":
        return True, at + 1
    return False, _skip(text, _expect(text, at, ","))


def _skip(text: str, at: int) -> int:
    begin = at
    while (matched := _space.match(text, begin)) and matched.end() - begin == MAX_SPACE_IN_ONE_LOOK:
        begin = matched.end()
    return matched.end() if matched else begin


def _expect(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        raise json.JSONDecodeError(f"expected {character!r}", text, at)
    return at + 1


def _expect_end(text: str, at: int) -> None:
    at = _skip(text, at)
    if at < len(text):
        raise json.JSONDecodeError("unexpected data after the end", text, at)

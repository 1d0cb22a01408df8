"""Parse the status line and the headers of a response: pure."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

# A header line of at most this many bytes is parsed once for all responses: most receivers always send the same.
SHORT_HEADER = 256


class Head(NamedTuple):
    """The reason phrase of a response, which may be empty, and its headers as (name, value) pairs."""

    reason: str
    headers: tuple[tuple[str, str], ...]


def parse_head(lines: Iterable[bytes]) -> Head | None:
    """Return the head of the final response among the lines received, or None if it is incomplete."""
    headers: list[tuple[str, str]] = []
    reason, is_complete = "", False
    for line in lines:
        if line.startswith(b"HTTP/"):
            # Discard the headers of an interim (1xx) response.
            reason, headers, is_complete = reason_of(line.decode("latin-1")), [], False
        elif line in {b"\r\n", b"\n"}:
            is_complete = True
        elif header := known_header(line) if len(line) <= SHORT_HEADER else header_of(line):
            headers.append(header)
    return Head(reason, tuple(headers)) if is_complete else None


def header_of(line: bytes) -> tuple[str, str] | None:
    """Return the name and the value of a header line, or None if it has no colon."""
    name, colon, value = line.decode("latin-1").partition(":")
    return (name.strip(), value.strip()) if colon else None


known_header = lru_cache(maxsize=2048)(header_of)


def reason_of(status_line: str) -> str:
    """Return the reason phrase of a status line, which may be empty."""
    return status_line.rstrip().partition(" ")[2].partition(" ")[2]

"""Parses request bodies: strict JSON, and raw bytes where the exact bytes matter."""

import codecs
import json
import re
import sys
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from django.http import HttpRequest
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser

from hookhub.http.errors import Refusal, bad_request, too_large


def read_body(stream: IO[bytes], context: Mapping[str, Any]) -> bytes:
    """Return the whole body; raise a 413 if it is longer than allowed, a 400 if it is incomplete."""
    limit = settings.HOOKHUB_REQUEST_LIMIT
    request = context["request"]
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
        raise too_large(f"The request body exceeds {limit:,} bytes; split it into several requests.")
    return whole(stream.read(), request)


def whole(content: bytes, request: HttpRequest) -> bytes:
    """Return a complete body; raise a 400 for a truncated one, as NDJSON cut off after a line would look complete."""
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if len(content) < length:
        raise bad_request(f"The body ended after {len(content):,} of {length:,} bytes.")
    return content


FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


class StrictJSONParser(BaseParser):
    """JSON as in RFC 8259: UTF-8, without NaN and Infinity, and not nested beyond the parser's limit."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the parsed body; raise a 400 that says where it is malformed."""
        content = read_body(stream, parser_context or {})
        try:
            text = without_bom(content).decode()
        except UnicodeDecodeError as error:
            raise bad_request(f"The body is not valid UTF-8 at byte {error.start}.") from error
        try:
            return json.loads(text, parse_constant=refuse_constant)
        except RecursionError as error:
            raise bad_request("The body is nested too deeply.") from error
        except ValueError as error:
            raise unreadable(error, text) from error


class RawParser(BaseParser):
    """JSON under any media type, as its exact bytes."""

    media_type = "*/*"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the bytes of the body; raise a 415 for a form, which only browsers send."""
        if media_type and media_type.partition(";")[0].strip().lower() in FORMS:
            raise UnsupportedMediaType(media_type)
        return read_body(stream, parser_context or {})


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

"""Request bodies: strict JSON, and raw bytes where exactly those count."""

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

from hookhub.api.errors import Refusal, bad_request, too_large


def read_body(stream: IO[bytes], context: Mapping[str, Any]) -> bytes:
    """Read the whole body, provided it is not longer than allowed."""
    limit = settings.HOOKHUB_REQUEST_LIMIT
    request = context["request"]
    if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
        raise too_large(f"The request is longer than {limit:,} bytes; send it in parts.")
    return whole(stream.read(), request)


def whole(content: bytes, request: HttpRequest) -> bytes:
    """Give a body if all of it came; of NDJSON, what was cut off behind a line would look like all there is."""
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if len(content) < length:
        raise bad_request(f"The body ended after {len(content):,} of {length:,} bytes.")
    return content


FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 has it: UTF-8, no NaN, not nested beyond reason."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Give the parsed body; raises a 400 that says where it is wrong."""
        del media_type
        content = read_body(stream, parser_context or {})
        try:
            text = without_bom(content).decode()
        except UnicodeDecodeError as error:
            raise bad_request(f"The body is not UTF-8, at byte {error.start}.") from error
        try:
            return json.loads(text, parse_constant=refuse_constant)
        except RecursionError as error:
            raise bad_request("The body is nested too deeply.") from error
        except ValueError as error:
            raise unreadable(error, text) from error


class RawParser(BaseParser):
    """JSON in whatever wrapping, as its exact bytes."""

    media_type = "*/*"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Give the body's bytes; forms are not for machines."""
        if media_type and media_type.partition(";")[0].strip().lower() in FORMS:
            raise UnsupportedMediaType(media_type)
        return read_body(stream, parser_context or {})


def without_bom(content: bytes) -> bytes:
    """Return a body without the byte order mark that some programs on Windows begin it with; RFC 8259 allows that."""
    return content.removeprefix(codecs.BOM_UTF8)


def unreadable(error: ValueError, text: str) -> Refusal:
    """Return the 400 for a text that the JSON reader refused with ``error``."""
    reason = error.__cause__ or error
    # The reader does not say where it met a number that it does not convert: its time would grow with its square.
    if not isinstance(reason, json.JSONDecodeError) and (at := position_of_long_integer(text)) is not None:
        most = sys.get_int_max_str_digits()
        return bad_request(
            f"A number at character {at:,} of the body has more than {most:,} digits; send it as a string."
        )
    return bad_request(f"The body is not JSON: {error}.")


# A string, or a number; what makes a number no integer is the last group.
_string_or_number = re.compile(r'"(?:[^"\\]|\\.)*"|-?([0-9]+)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)', re.DOTALL)


def position_of_long_integer(text: str) -> int | None:
    """Return where the first integer of more digits than Python converts begins, counted from 0, or None."""
    most = sys.get_int_max_str_digits()
    for found in _string_or_number.finditer(text):
        if found[1] and not found[2] and len(found[1]) > most:
            return found.start()
    return None


def refuse_constant(name: str) -> NoReturn:
    """JSON has no NaN and no Infinity, though Python's reader takes them."""
    raise ValueError(f"{name} is not a JSON value")

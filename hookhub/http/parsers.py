"""Parses request bodies: strict JSON, and raw bytes where the exact bytes matter."""

import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser

from hookhub.http.json_texts import refuse_constant, unreadable, without_bom
from hookhub.http.refusals import bad_request, too_large


def max_body() -> int:
    """Return how many bytes a request may have: HookHub's own limit, or that of the project, which may be lower."""
    of_the_project = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return (
        settings.HOOKHUB_REQUEST_LIMIT
        if of_the_project is None
        else min(settings.HOOKHUB_REQUEST_LIMIT, of_the_project)
    )


def read_body(stream: IO[bytes], context: Mapping[str, Any]) -> bytes:
    """Return the whole body; raise a 413 if it is longer than allowed, a 400 if it is incomplete."""
    limit = max_body()
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

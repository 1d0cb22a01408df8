"""Parses the hub's requests, which are forms: urlencoded, or multipart as `curl -F` and PyGithub send them."""

import io
from collections.abc import Iterable, Mapping
from typing import IO, Any
from urllib.parse import parse_qsl

from django.core.exceptions import SuspiciousOperation
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from rest_framework.parsers import BaseParser

from hookhub.dialects.social_gateway.errors import MalformedForm
from hookhub.http.parsers import read_body

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MAX_FIELDS = 100


class URLEncodedForm(BaseParser):
    """A urlencoded form in UTF-8, as a dict of strings."""

    media_type = URLENCODED

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        """Return the fields of the form, the last one of those with the same name; raise a 400 if it is malformed."""
        content = read_body(stream, parser_context or {})
        try:
            # Latin-1 keeps every byte, where UTF-8 would replace those that are invalid.
            pairs = parse_qsl(
                content.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=MAX_FIELDS
            )
        except ValueError as error:
            raise MalformedForm("it has too many fields") from error
        return as_text((name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs)


class MultipartForm(BaseParser):
    """A multipart form in UTF-8, as a dict of strings; uploaded files are ignored."""

    media_type = MULTIPART

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        """Return the fields of the form, the last one of those with the same name; raise a 400 if it is malformed."""
        content = read_body(stream, parser_context or {})
        head = {"CONTENT_TYPE": media_type or MULTIPART, "CONTENT_LENGTH": str(len(content))}
        try:
            # Latin-1 keeps every byte, where UTF-8 would replace those that are invalid.
            fields, _ = MultiPartParser(head, io.BytesIO(content), [], "latin-1").parse()
        except (MultiPartParserError, SuspiciousOperation) as error:
            raise MalformedForm("it is not a valid multipart body") from error
        if len(fields) > MAX_FIELDS:
            raise MalformedForm("it has too many fields")
        pairs = [(name, value) for name, values in fields.lists() for value in values]
        return as_text((name.encode("latin-1"), str(value).encode("latin-1")) for name, value in pairs)


def as_text(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the fields of a form as text; raise a 400 if any is not UTF-8."""
    try:
        return {name.decode(): value.decode() for name, value in pairs}
    except UnicodeError as error:
        raise MalformedForm("it is not UTF-8") from error

"""Lists by cursor: what a page costs does not grow with how far one has paged."""

import re
from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from hookhub.api.errors import invalid

# What base64 is written in.
ENCODED = re.compile(r"[A-Za-z0-9+/=]+")
# The ids that positions are: UUIDs, and whole numbers that a bigint holds.
POSITION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{1,18}")


class Cursor(CursorPagination):
    """Newest first, by an id that sorts by time."""

    ordering = "-id"
    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"
    invalid_cursor_message = "This cursor is not one of ours; start again without it."

    def decode_cursor(self, request: Request) -> Any:
        """Read the cursor; a bad one is the caller's mistake and not a missing page."""
        given = request.query_params.get(self.cursor_query_param)
        if given and not ENCODED.fullmatch(given):
            raise invalid({"cursor": self.invalid_cursor_message})
        try:
            cursor = super().decode_cursor(request)
        except NotFound as error:
            raise invalid({"cursor": self.invalid_cursor_message}) from error
        if cursor is not None and not self._leads_somewhere(cursor.position):
            raise invalid({"cursor": self.invalid_cursor_message})
        return cursor

    @staticmethod
    def _leads_somewhere(position: object) -> bool:
        return position is None or POSITION.fullmatch(str(position)) is not None

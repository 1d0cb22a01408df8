"""Lists by cursor: what a page costs does not grow with how far one has paged."""

from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from hookhub.api.errors import invalid


class Cursor(CursorPagination):
    """Newest first, by an id that sorts by time."""

    ordering = "-id"
    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"
    invalid_cursor_message = "This cursor is not one of ours; start again without it."

    def decode_cursor(self, request: Request) -> Any:
        """Read the cursor; a bad one is the caller's mistake and not a missing page."""
        try:
            cursor = super().decode_cursor(request)
        except NotFound as error:
            raise invalid({"cursor": self.invalid_cursor_message}) from error
        if cursor is not None and cursor.position is not None and "\0" in str(cursor.position):
            raise invalid({"cursor": self.invalid_cursor_message})
        return cursor

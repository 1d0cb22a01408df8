"""Keyset pagination: the cost of a page does not depend on how far into the list it is."""

import re
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

from django.db.models import UUIDField
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from hookhub.http.query import whole_number
from hookhub.http.refusals import invalid

# The alphabet of base64.
ENCODED = re.compile(r"[A-Za-z0-9+/=]+")
# Positions are ids: UUIDs in some lists, in the others integers that fit into a bigint.
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NUMBER = re.compile(r"[0-9]{1,18}")

NOT_OURS = "is not a valid cursor of this list; omit it to start from the beginning"


class Cursor(CursorPagination):
    """Pages from newest to oldest, by an id that sorts by time."""

    ordering = "-id"
    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"
    position = NUMBER

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any] | None:
        """Return the requested page; raise a 422 for an invalid limit or cursor."""
        is_by_uuid = isinstance(queryset.model._meta.pk, UUIDField)
        self.position = UUID if is_by_uuid else NUMBER
        if whole_number(request.query_params.get("limit", "1"), most=self.max_page_size) is None:
            raise invalid({"limit": f"must be an integer from 1 to {self.max_page_size}"})
        return super().paginate_queryset(queryset, request, view)

    def decode_cursor(self, request: Request) -> Any:
        """Decode the cursor; raise a 422 for an invalid one, where the framework would raise a 404."""
        given = request.query_params.get(self.cursor_query_param)
        if given and not ENCODED.fullmatch(given):
            raise invalid({"cursor": NOT_OURS})
        try:
            cursor = super().decode_cursor(request)
        except NotFound as error:
            raise invalid({"cursor": NOT_OURS}) from error
        if cursor is not None and cursor.position is not None and not self.position.fullmatch(str(cursor.position)):
            raise invalid({"cursor": NOT_OURS})
        # The framework reads one that was cut short, or is of another list, as that of the first page.
        if given and given != _encoded(cursor):
            raise invalid({"cursor": NOT_OURS})
        return cursor

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the OpenAPI parameters of a page, with the bounds of ``limit``."""
        parameters: list[dict[str, Any]] = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == self.page_size_query_param:
                parameter["schema"] |= {"minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
            else:
                parameter["schema"] |= {"pattern": f"^{ENCODED.pattern}$"}
        return parameters

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        """Return the OpenAPI schema of a page, without the framework's examples, one of which is not a URI."""
        page: dict[str, Any] = super().get_paginated_response_schema(schema)
        for link in ("next", "previous"):
            page["properties"][link].pop("example", None)
        return page


def _encoded(cursor: Any) -> str:
    """Return a cursor as links to other pages have it."""
    parts = {"o": cursor.offset or None, "r": 1 if cursor.reverse else None, "p": cursor.position}
    return b64encode(urlencode({name: part for name, part in parts.items() if part is not None}).encode()).decode()


class Whole(Cursor):
    """For vendors' lists, which have no pages: one response with all rows, or with very many a link to the rest."""

    page_size = 1000
    max_page_size = 1000

    def links(self) -> dict[str, str]:
        """Return the Link header that leads to the rest, if there is any (RFC 8288)."""
        rest = self.get_next_link()
        return {"Link": f'<{rest}>; rel="next"'} if rest else {}

"""Parses query parameters strictly: invalid ones are refused and not ignored."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from hookhub.http.errors import MUST_NOT_BE_EMPTY
from hookhub.http.json_values import parse_timestamp
from hookhub.http.refusals import invalid

MAX_WINDOW = timedelta(days=90)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIME_PARAMETERS = [
    OpenApiParameter("after", OpenApiTypes.DATETIME, description="Created at or after this time."),
    OpenApiParameter("before", OpenApiTypes.DATETIME, description="Created before this time."),
]
# For the OpenAPI document: a non-empty string. No parameter may contain NUL, which PostgreSQL cannot store.
TEXT = {"type": "string", "minLength": 1, "pattern": r"^[^\u0000]+$"}
HOURS = OpenApiParameter(
    "hours",
    {"type": "integer", "minimum": 1, "maximum": MAX_WINDOW // timedelta(hours=1)},
    description="Hours to look back; 24 by default.",
)


def read_uuid(text: str) -> UUID:
    """Parse an id from a path; raise a 404 for an invalid one, because nothing can have it."""
    try:
        return UUID(text)
    except ValueError as error:
        raise Http404 from error


def read_id(value: object, name: str) -> UUID | None:
    """Parse an id from a query parameter or a field, or return None if it is absent; raise a 422 that names it."""
    if value is None:
        return None
    try:
        return UUID(str(value))
    except ValueError as error:
        raise invalid({name: "must be a UUID"}) from error


def whole_number(text: str, *, most: int, least: int = 1) -> int | None:
    """Return the whole number in a text from a path or a query, or None unless it is from ``least`` to ``most``.

    All numbers in requests are parsed here: ASCII digits only, and no more of them than ``most`` has, so that no text
    takes long to convert and no number is too large for the database.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        return None
    number = int(text)
    return number if least <= number <= most else None


ALWAYS_KNOWN = frozenset({"organization", "cursor", "limit", "format"})


def require_known_parameters(request: Request, *names: str) -> None:
    """Raise a 422 for unknown or empty query parameters: neither must pass for an absent filter."""
    known = ALWAYS_KNOWN | set(names)
    unknown = f"is not a known parameter; known parameters: {', '.join(sorted(known))}"
    errors = {
        name: MUST_NOT_BE_EMPTY if name in known else unknown
        for name in request.query_params
        if name not in known or "" in request.query_params.getlist(name)
    }
    if errors:
        raise invalid(errors)


def read_timestamp(value: object, name: str) -> datetime | None:
    """Parse a timestamp, or return None if it is absent; raise a 422 that names the field."""
    if value is None:
        return None
    # An unescaped plus in a query string has been decoded as a space.
    found = parse_timestamp(value.replace(" ", "+") if isinstance(value, str) else value)
    if found is None:
        raise invalid({name: "must be a timestamp with a time zone, such as 2026-03-04T12:00:00Z"})
    # Ids begin with the time since the epoch, so nothing is older.
    return max(found, EPOCH)


def between(request: Request) -> tuple[datetime | None, datetime | None]:
    """Return the bounds ``after`` and ``before`` of the query, each None if absent."""
    after, before = (read_timestamp(request.query_params.get(name), name) for name in ("after", "before"))
    return after, before


def read_window(request: Request) -> timedelta:
    """Return the ``hours`` of the query as a duration, one day if absent; raise a 422 if invalid."""
    most = MAX_WINDOW // timedelta(hours=1)
    hours = whole_number(request.query_params.get("hours", "24"), most=most)
    if hours is None:
        raise invalid({"hours": f"must be an integer from 1 to {most}"})
    return timedelta(hours=hours)

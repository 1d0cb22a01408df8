"""Lists in pages, and the Link header that leads from one page to the next."""

import re
from collections.abc import Mapping
from uuid import UUID

from rest_framework.request import Request

from hookhub.dialects.social_gateway.errors import ValidationFailed, invalid
from hookhub.http.links import url_of
from hookhub.http.pagination import NOT_OURS
from hookhub.http.query import whole_number

PER_PAGE = 30
MAX_PER_PAGE = 100
# Beyond the end of any list, and still an offset that the database accepts.
MAX_PAGE = 10**9
CURSOR = re.compile(r"v1_([0-9a-f]{32})")


def whole(request: Request, name: str, *, default: int, most: int) -> int:
    """Return a number from the query; as at GitHub, an invalid one is ignored, and one that is too large is capped."""
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit()) or not text.strip("0"):
        return default
    return whole_number(text.lstrip("0"), most=most) or most


def per_page(request: Request) -> int:
    """Return the number of rows of a page."""
    return whole(request, "per_page", default=PER_PAGE, most=MAX_PER_PAGE)


def cursor(request: Request) -> UUID | None:
    """Return the id below which the page starts, or None for the first page; raise a 422 for an invalid cursor."""
    text = request.query_params.get("cursor")
    if not text:
        return None
    found = CURSOR.fullmatch(text)
    if found is None:
        raise ValidationFailed(invalid("cursor", NOT_OURS))
    return UUID(found[1])


def pages_link(request: Request, *, page: int, last: int) -> dict[str, str]:
    """Return the header that leads to the other pages, in GitHub's order; empty if there is only one."""
    numbers = {"prev": min(page - 1, last), "next": page + 1, "last": last, "first": 1}
    shown = {
        name: number
        for name, number in numbers.items()
        if (page > 1 if name in {"prev", "first"} else page < last) and number >= 1
    }
    return link({name: address(request, {"page": str(number)}) for name, number in shown.items()})


def cursor_link(request: Request, *, below: UUID | None) -> dict[str, str]:
    """Return the header that leads to the rows below an id; empty if there are none."""
    return {} if below is None else link({"next": address(request, {"cursor": f"v1_{below.hex}"})})


def address(request: Request, changed: Mapping[str, str]) -> str:
    """Return the URL that was called, with the host and port that the client used, and part of its query changed."""
    query = request.query_params.copy()
    for name, value in changed.items():
        query[name] = value
    return url_of(f"{request.path_info}?{query.urlencode()}", request)


def link(addresses: Mapping[str, str]) -> dict[str, str]:
    """Return a Link header, in exactly the notation that simple clients parse; empty without addresses."""
    if not addresses:
        return {}
    return {"Link": ", ".join(f'<{there}>; rel="{name}"' for name, there in addresses.items())}

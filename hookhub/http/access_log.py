"""Request ids and the access log: one JSON object per request, without secrets."""

import json
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from deliveries import secret_text
from hookhub.http.client_address import address_of
from hookhub.models import ApiKey

log = logging.getLogger("hookhub.access")

Handler = Callable[[HttpRequest], HttpResponse]
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,100}")
# Parameters that are logged with their values; any other value may be a secret that ended up in the URL.
SHOWN_PARAMETERS = frozenset(
    {"organization", "repository", "type", "state", "status", "active", "after", "before", "hours", "limit", "page",
     "per_page", "format", "o", "p"}
)  # fmt: skip
MASK = "***"
MAX_LENGTH = 500


def identify(get_response: Handler) -> Handler:
    """Assign each request an id (the client's own if well-formed), return it in the response, and log the request."""

    def answer(request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        is_sane = REQUEST_ID.fullmatch(given) and not secret_text.holds_secret(given)
        request_id = given if is_sane else secrets.token_hex(8)
        request.META["HTTP_X_REQUEST_ID"] = request_id
        started = time.perf_counter()
        answered = get_response(request)
        answered.headers["X-Request-Id"] = request_id
        if settings.HOOKHUB_ACCESS_LOG:
            log.info("%s", line_of(request, answered, took=time.perf_counter() - started))
        return answered

    return answer


def line_of(request: HttpRequest, answered: HttpResponse, *, took: float) -> str:
    """Return a request's line for the access log; ``took`` is in seconds."""
    line: dict[str, object] = {
        "method": request.method,
        "path": secret_text.masked(request.path)[:MAX_LENGTH],
        "status": answered.status_code,
        "ms": round(took * 1000, 2),
        "bytes": 0 if answered.streaming else len(answered.content),
        "address": address_of(request.META),
        "request_id": request.META["HTTP_X_REQUEST_ID"],
    }
    if query := request.META.get("QUERY_STRING"):
        line["query"] = shown_query(query)
    line |= request.META.get("hookhub.caller", {})
    user = request.__dict__.get("_cached_user") or request.__dict__.get("_acached_user")
    if user is not None and user.is_authenticated:
        line["user"] = user.get_username()
    return json.dumps(line, separators=(",", ":"))


def shown_query(query: str) -> str:
    """Return a query string in which every value that may be a secret is masked."""
    pairs = parse_qsl(query[:4096], keep_blank_values=True)
    shown = [(name, secret_text.masked(value) if name in SHOWN_PARAMETERS else MASK) for name, value in pairs]
    return urlencode(shown, safe="*")[:MAX_LENGTH]


def name_caller(environ: dict[str, Any], key: ApiKey) -> None:
    """Add a request's API key and its organization to the access log."""
    caller = {"key": key.key_id}
    if key.organization is not None:
        caller["organization"] = key.organization.slug
    environ["hookhub.caller"] = caller

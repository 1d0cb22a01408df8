"""Request ids and the access log: one JSON object per request, without secrets."""

import json
import logging
import random
import re
import time
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from deliveries import secret_text
from deliveries.policy import trace_context
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
        assign_id(request.META)
        started = time.perf_counter()
        answered = get_response(request)
        answered.headers["X-Request-Id"] = request.META["HTTP_X_REQUEST_ID"]
        if settings.HOOKHUB_ACCESS_LOG:
            log.info("%s", line_of(request, answered, took=time.perf_counter() - started))
        return answered

    return answer


def assign_id(environ: MutableMapping[str, Any]) -> None:
    """Assign a request an id: the client's own in X-Request-Id if that is well-formed, or a new one."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    if not given or not REQUEST_ID.fullmatch(given) or secret_text.holds_secret(given):
        environ["HTTP_X_REQUEST_ID"] = f"{random.getrandbits(64):016x}"


def line_of(request: HttpRequest, answered: HttpResponse, *, took: float) -> str:
    """Return a request's line for the access log; ``took`` is in seconds."""
    size = 0 if answered.streaming else len(answered.content)
    entry = entry_of(
        request.META, method=request.method or "", path=request.path, status=answered.status_code, size=size, took=took
    )
    user = request.__dict__.get("_cached_user") or request.__dict__.get("_acached_user")
    if user is not None and user.is_authenticated:
        entry["user"] = user.get_username()
    return json.dumps(entry, separators=(",", ":"))


def write(line: str) -> None:
    """Write to the access log what ``log.info`` would, without searching the stack for the caller of the logger."""
    if log.isEnabledFor(logging.INFO):
        log.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, "%s", (line,), None))


def line_without_django(
    environ: Mapping[str, Any], *, address: str, path: str, status: int, size: int, took: float
) -> str:
    """Return the line of a request that was answered without Django; ``size`` is that of the content in bytes."""
    # Formatted by hand, at a third of the cost of the JSON encoder. A request's id holds nothing to be escaped.
    line = (
        f'{{"method":"{environ["REQUEST_METHOD"]}","path":"{path}","status":{status},"ms":{round(took * 1000, 2)},'
        f'"bytes":{size},"address":{_quoted(address)},"request_id":"{environ["HTTP_X_REQUEST_ID"]}"'
    )
    if query := environ.get("QUERY_STRING"):
        line += f',"query":{json.dumps(shown_query(query))}'
    for name, value in environ.get("hookhub.caller", {}).items():
        line += f',"{name}":{_quoted(value)}'
    if trace := environ.get("hookhub.trace"):
        line += f',"trace":"{trace}"'
    return line + "}"


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    return json.dumps(text)


def entry_of(
    environ: Mapping[str, Any], *, method: str, path: str, status: int, size: int, took: float
) -> dict[str, object]:
    """Return what the access log says of a request, without its user."""
    entry: dict[str, object] = {
        "method": method,
        "path": secret_text.masked(path)[:MAX_LENGTH],
        "status": status,
        "ms": round(took * 1000, 2),
        "bytes": size,
        "address": address_of(environ),
        "request_id": environ["HTTP_X_REQUEST_ID"],
    }
    if query := environ.get("QUERY_STRING"):
        entry["query"] = shown_query(query)
    caller: dict[str, object] = environ.get("hookhub.caller", {})
    if trace := environ.get("hookhub.trace"):
        entry["trace"] = trace
    return entry | caller


def shown_query(query: str) -> str:
    """Return a query string in which every value that may be a secret is masked."""
    pairs = parse_qsl(query[:4096], keep_blank_values=True)
    shown = [(name, secret_text.masked(value) if name in SHOWN_PARAMETERS else MASK) for name, value in pairs]
    return urlencode(shown, safe="*")[:MAX_LENGTH]


def name_trace(environ: MutableMapping[str, Any], stored: str) -> None:
    """Add the id of a request's trace, as ``trace_context`` has it, to the access log."""
    environ["hookhub.trace"] = trace_context.trace_id_of(stored)


def name_caller(environ: MutableMapping[str, Any], key: ApiKey) -> None:
    """Add a request's API key and its organization to the access log."""
    caller = {"key": key.key_id}
    if key.organization is not None:
        caller["organization"] = key.organization.slug
    environ["hookhub.caller"] = caller

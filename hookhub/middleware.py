"""Middleware: health checks, served hosts, the publishing fast path, rate limits by address, and loop detection."""

import logging
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from rest_framework.response import Response

from deliveries import audit
from deliveries.policy import hops, trace_context
from deliveries.rates import TooMany
from hookhub.dialects.not_found import in_callers_format, not_found
from hookhub.http import rate_limits, readiness
from hookhub.http.access_log import name_trace
from hookhub.http.actors import actor_of_session
from hookhub.http.client_address import address_of
from hookhub.http.early_refusals import REFUSAL_HEADERS, EarlyRefusal, render_refusal
from hookhub.http.errors import as_plain, rendered, throttled
from hookhub.http.refusals import invalid, loop_detected
from hookhub.mcp import jsonrpc
from hookhub.portal import refusals
from hookhub.publishing import fast_path, parse

log = logging.getLogger("hookhub.http")

Handler = Callable[[HttpRequest], HttpResponse]


def answer_health_checks(get_response: Handler) -> Handler:
    """Answer /healthz and /readyz regardless of the Host header, because probes call by IP address."""
    checks = {"/healthz": readiness.live, "/readyz": readiness.ready}

    def answer(request: HttpRequest) -> HttpResponse:
        check = checks.get(request.path_info)
        if check is None:
            return get_response(request)
        status, report = check()
        return JsonResponse(report, status=status)

    return answer


def require_a_served_host(get_response: Handler) -> Handler:
    """Reject requests for a host that is not served here, with one line in the log."""

    def answer(request: HttpRequest) -> HttpResponse:
        try:
            request.get_host()
        except DisallowedHost:
            # Escaped and cut, because it is untrusted input.
            host = ascii(request.META.get("HTTP_HOST", "")[:100])
            log.warning("Rejected a request for host %s, which is not in HOOKHUB_SERVED_HOSTS", host)
            message = f"Unknown host {host}. The operator can add it to HOOKHUB_SERVED_HOSTS."
            refusal = EarlyRefusal(400, "unknown_host", message)
            content_type, content = render_refusal(refusal, accept=request.META.get("HTTP_ACCEPT", ""))
            headers = dict(REFUSAL_HEADERS)
            return HttpResponse(content, status=refusal.status, content_type=content_type, headers=headers)
        return get_response(request)

    return answer


def show_pages_to_people(get_response: Handler) -> Handler:
    """Answer people in the portal with a page also where all others get JSON, or nothing: each refusal and failure."""

    def answer(request: HttpRequest) -> HttpResponse:
        answered = get_response(request)
        is_page = answered.get("Content-Type", "").startswith("text/html") and not answered.streaming
        if answered.status_code < 400 or not request.path_info.startswith("/portal/"):
            return answered
        return answered if is_page and answered.content else refusals.as_page(request, answered)

    return answer


def name_the_actor(get_response: Handler) -> Handler:
    """Attribute a request's changes in the audit log to the logged-in user or to its API key."""

    def answer(request: HttpRequest) -> HttpResponse:
        with audit.acting(lambda: actor_of_session(request)):
            return get_response(request)

    return answer


def refuse_unreadable(get_response: Handler) -> Handler:
    """Reject paths, cookies and queries with NUL, which PostgreSQL's text cannot store, and queries not in UTF-8."""

    def answer(request: HttpRequest) -> HttpResponse:
        if "\0" in request.path_info:
            return not_found(request)
        if request.path_info.startswith("/portal/"):
            # A form of the portal is in UTF-8. Another encoding may be none of text, or yield what cannot be encoded.
            request.encoding = "utf-8"
        # A quoted cookie may encode NUL as an octal escape.
        if "\\" in request.META.get("HTTP_COOKIE", "") and any("\0" in each for each in request.COOKIES.values()):
            return as_plain(rendered(invalid({"Cookie": "must not contain a NUL character"})))
        query = request.META.get("QUERY_STRING", "")
        if "%" in query or not query.isascii() or "\0" in query:
            errors = query_errors(query)
            if errors:
                return in_format_of_path(request, rendered(invalid(errors)))
        return get_response(request)

    return answer


def in_format_of_path(request: HttpRequest, refusal: Response) -> HttpResponse:
    """Convert an error raised before any view to the format of the API whose path was called."""
    if request.path_info != "/mcp":
        return in_callers_format(request, refusal)
    error, status = refusal.data["error"], refusal.status_code
    fields = {row["field"]: row["message"] for row in error["fields"]}
    refusal.data = jsonrpc.refused(None, status=status, code=error["code"], message=error["message"], fields=fields)
    return as_plain(refusal)


def query_errors(query: str) -> dict[str, str]:
    """Return the errors in a query string, by parameter."""
    errors = {}
    for part in query.encode("latin-1", "replace").split(b"&"):
        name, _, value = part.replace(b"+", b" ").partition(b"=")
        shown = unquote_to_bytes(name)[:100].decode(errors="replace").replace("\0", "")
        content = unquote_to_bytes(name) + unquote_to_bytes(value)
        if b"\0" in content:
            errors[shown or "query"] = "must not contain a NUL character"
        else:
            try:
                content.decode()
            except UnicodeDecodeError:
                errors[shown or "query"] = "must be valid UTF-8"
    return errors


def carry_traces(get_response: Handler) -> Handler:
    """Make the events that a request causes, such as a ping, part of the request's trace."""

    def answer(request: HttpRequest) -> HttpResponse:
        if "HTTP_TRACEPARENT" not in request.META:
            return get_response(request)
        trace = parse.trace_of(request.META)
        if trace is not None:
            name_trace(request.META, trace)
        with trace_context.within(trace):
            return get_response(request)

    return answer


def limit_addresses(get_response: Handler) -> Handler:
    """Reject requests from an address that has used up its limit.

    Accepted events do not count, nor do requests that a database outage fails with 503: a client that retries until the
    database is back must not be rejected then.
    """

    def answer(request: HttpRequest) -> HttpResponse:
        address = address_of(request.META)
        try:
            rate_limits.require_address(address)
        except TooMany as error:
            return in_format_of_path(request, throttled(error))
        answered = get_response(request)
        # Events are limited by key and organization instead.
        is_accepted = answered.status_code == 202 and request.path_info == "/v1/events"
        if not is_accepted and answered.status_code != 503:
            rate_limits.count_address(address)
        for name, value in request.META.get("hookhub.rates", {}).items():
            answered.setdefault(name, value)
        return answered

    return answer


def accept_events(get_response: Handler) -> Handler:
    """Serve the publishing fast path before the middleware that only browsers need: sessions, cookies, messages."""

    def answer(request: HttpRequest) -> HttpResponse:
        is_published = request.method == "POST" and request.path_info == "/v1/events"
        answered = fast_path.accept(request) if is_published else None
        return get_response(request) if answered is None else answered

    return answer


def end_loops(get_response: Handler) -> Handler:
    """Reject deliveries that would change something here; publishing is exempt, because it counts hops itself."""
    name = f"HTTP_{hops.HEADER.upper().replace('-', '_')}"
    harmless = frozenset({"GET", "HEAD", "OPTIONS"})

    def answer(request: HttpRequest) -> HttpResponse:
        if name in request.META and request.method not in harmless and request.path_info != "/v1/events":
            refusal = loop_detected(
                f"The header {hops.HEADER} marks this request as a HookHub delivery. Deliveries can publish events but "
                "not call other endpoints. If your program forwards the header, remove it."
            )
            return as_plain(rendered(refusal))
        return get_response(request)

    return answer

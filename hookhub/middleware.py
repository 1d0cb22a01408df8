"""What is answered before any view: health checks, bodies of unknown length, and programs that publish."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

from deliveries import audit, hops
from deliveries.rates import TooMany
from hookhub import rate_limits, readiness
from hookhub.actors import actor_of_session
from hookhub.api import publishing
from hookhub.api.errors import as_plain, body, loop_detected, shape, throttled
from hookhub.client_address import address_of

Handler = Callable[[HttpRequest], HttpResponse]


def answer_health_checks(get_response: Handler) -> Handler:
    """Answer /healthz and /readyz whatever the Host header says: probes go by address."""
    checks = {"/healthz": readiness.live, "/readyz": readiness.ready}

    def answer(request: HttpRequest) -> HttpResponse:
        check = checks.get(request.path)
        if check is None:
            return get_response(request)
        status, report = check()
        return JsonResponse(report, status=status)

    return answer


def require_a_length(get_response: Handler) -> Handler:
    """Refuse bodies sent in chunks: they have no length, and what has no length is read as empty."""

    def answer(request: HttpRequest) -> HttpResponse:
        if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower() and not request.META.get(
            "CONTENT_LENGTH"
        ):
            message = "Send the body with a Content-Length; bodies in chunks are not read."
            return JsonResponse(body("length_required", message), status=411)
        return get_response(request)

    return answer


def name_the_actor(get_response: Handler) -> Handler:
    """Have the changes of a request recorded as made by the person who is logged in, or by its API key."""

    def answer(request: HttpRequest) -> HttpResponse:
        with audit.acting(lambda: actor_of_session(request)):
            return get_response(request)

    return answer


def limit_addresses(get_response: Handler) -> Handler:
    """Refuse the requests of an address that has made as many as it may; events that were accepted do not count."""

    def answer(request: HttpRequest) -> HttpResponse:
        address = address_of(request.META)
        try:
            rate_limits.require_address(address)
        except TooMany as error:
            return as_plain(throttled(error))
        answered = get_response(request)
        # Their keys and their organizations have limits of their own.
        if answered.status_code != 202 or request.path_info != "/v1/events":
            rate_limits.count_address(address)
        for name, value in request.META.get("hookhub.rates", {}).items():
            answered.setdefault(name, value)
        return answered

    return answer


def accept_events(get_response: Handler) -> Handler:
    """Accept what programs publish before all that only people need: sessions, cookies, messages, pages."""

    def answer(request: HttpRequest) -> HttpResponse:
        is_published = request.method == "POST" and request.path_info == "/v1/events"
        answered = publishing.accept(request) if is_published else None
        return get_response(request) if answered is None else answered

    return answer


def end_loops(get_response: Handler) -> Handler:
    """Refuse deliveries that would change something here: only publishing counts how often it was done in a row."""
    name = f"HTTP_{hops.HEADER.upper().replace('-', '_')}"
    harmless = frozenset({"GET", "HEAD", "OPTIONS"})

    def answer(request: HttpRequest) -> HttpResponse:
        if name in request.META and request.method not in harmless and request.path_info != "/v1/events":
            refusal = loop_detected(
                f"This request is a delivery of HookHub, as its header {hops.HEADER} says, and a delivery may publish "
                "events and nothing else here. A program that only passes the header on leaves it out."
            )
            answered = shape(refusal.status_code, refusal.code, refusal.message, fields=refusal.fields)
            return as_plain(answered)
        return get_response(request)

    return answer

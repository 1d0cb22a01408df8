"""The one format of all errors: a code for programs, a message for people, and the fields concerned."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import (
    DisallowedHost,
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import csrf, defaults
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from deliveries import vault
from deliveries.rates import TooMany
from deliveries.webhooks.fields import InvalidFields
from hookhub.http import rate_limits
from hookhub.http.refusals import Refusal, conflict, invalid
from hookhub.replays import TooManyRunning

log = logging.getLogger("hookhub.api")

MUST_NOT_BE_EMPTY = "must not be empty; omit it instead"
# Seconds for which a client should wait when the database does not respond.
RETRY_AFTER_SECONDS = "1"

UNREADABLE = (
    "The stored secrets of this webhook cannot be decrypted; the server's log has the reason. To set the webhook up "
    "again, send its url, secret and headers."
)


CODES = {
    400: "malformed",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "throttled",
    503: "unavailable",
}


NOT_STORABLE = (
    "contains what cannot be stored: a number or a time out of range, or characters such as an unpaired surrogate"
)


def answer(error: Exception, context: Mapping[str, Any]) -> Response | None:  # noqa: C901, PLR0911 - one for each kind
    """Return the response for an exception raised by a view, or None for a bug, which Django reports."""
    del context
    match error:
        case Refusal():
            return rendered(error)
        case InvalidFields():
            return answer(invalid(error.errors), {})
        case TooMany():
            return throttled(error)
        case TooManyRunning():
            return answer(conflict(f"{error}."), {})
        case exceptions.ValidationError():
            return answer(invalid(dict(flattened(error.detail))), {})
        case Http404() | ObjectDoesNotExist():
            # A row may have been deleted since the view first read it.
            return shape(404, "not_found", "Not found.")
        case PermissionDenied():
            return shape(403, "forbidden", "Forbidden.")
        case UnicodeEncodeError() | DataError():
            return answer(invalid({"request": NOT_STORABLE}), {})
        case OperationalError() | InterfaceError():
            return unavailable(error)
        case vault.Unreadable():
            log.error("Cannot decrypt the stored secrets of a webhook: %s", error)
            return answer(conflict(UNREADABLE), {})
        case exceptions.APIException():
            headers = {"WWW-Authenticate": header} if (header := getattr(error, "auth_header", None)) else {}
            code = CODES.get(error.status_code, "error")
            return shape(error.status_code, code, str(error.detail), headers=headers)
    return None


def rendered(refusal: Refusal) -> Response:
    """Return the response for a refusal."""
    return shape(refusal.status_code, refusal.code, refusal.message, fields=refusal.fields, headers=refusal.headers)


def throttled(error: TooMany) -> Response:
    """Return the 429 for an exceeded rate limit."""
    return shape(429, "throttled", str(error), headers=rate_limits.refusal_headers(error.standing))


def unavailable(error: OperationalError | InterfaceError) -> Response:
    """Return the 503 for a database that does not respond, or not in time."""
    # Even an event whose COMMIT got no response may have been stored; its idempotency key makes a repeat safe.
    log.error("The database is unavailable: %s", error)
    message = "The database is unavailable. Retry the request with the same idempotency key."
    return shape(503, "unavailable", message, headers={"Retry-After": RETRY_AFTER_SECONDS})


def as_plain(answer: Response) -> HttpResponse:
    """Convert an error response to a plain Django one, for use where no view renders it."""
    headers = {name: value for name, value in answer.headers.items() if name != "Content-Type"}
    return JsonResponse(answer.data, status=answer.status_code, headers=headers)


def shape(
    status_code: int,
    code: str,
    message: str,
    *,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a response in the one format of all errors."""
    return Response(body(code, message, fields), status=status_code, headers=dict(headers or {}))


def body(code: str, message: str, fields: Mapping[str, str] | None = None) -> dict[str, object]:
    """Return the body of a response in the one format of all errors."""
    rows = [{"field": name, "message": text} for name, text in (fields or {}).items()]
    return {"error": {"code": code, "message": message, "fields": rows}}


def flattened(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield DRF's nested error details as pairs of path and message; a path looks like ``events[3].type``."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            # The framework's name for what is wrong with the whole, which is no field.
            is_of_whole = name == api_settings.NON_FIELD_ERRORS_KEY
            yield from flattened(inner, path if is_of_whole else f"{path}.{name}" if path else str(name))
    elif isinstance(detail, list) and any(isinstance(inner, Mapping | list) for inner in detail):
        for position, inner in enumerate(detail):
            if inner:
                yield from flattened(inner, f"{path}[{position}]")
    else:
        sentences = detail if isinstance(detail, list) else [detail]
        yield path or "body", " ".join(str(sentence) for sentence in sentences)


def malformed_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the response to a request that Django itself rejects: wrong Host, too many fields, unreadable form."""
    if _is_for_people(request):
        return defaults.bad_request(request, exception)
    # The text of the exception may repeat what was sent, or name settings; it is in the log.
    match exception:
        case RequestDataTooBig():
            return JsonResponse(body("too_large", "The request is too large."), status=413)
        case DisallowedHost():
            message = "Unknown host in the request. The operator can add it to HOOKHUB_SERVED_HOSTS."
        case TooManyFieldsSent() | TooManyFilesSent():
            message = "The request has too many form fields; send JSON instead."
        case _:
            message = "The request is malformed."
    return JsonResponse(body("malformed", message), status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return the 403 for a request that was rejected outside of the API's views."""
    if _is_for_people(request):
        return defaults.permission_denied(request, exception)
    return JsonResponse(body("forbidden", "Forbidden."), status=403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return the 403 for a browser's form without the CSRF token of one of HookHub's own pages."""
    if _is_for_people(request):
        return csrf.csrf_failure(request, reason)
    message = "The CSRF token is missing or invalid. Programs authenticate with an API key and need no token."
    return JsonResponse(body("forbidden", message), status=403)


def _is_for_people(request: HttpRequest) -> bool:
    """Return whether the response is a page of the admin or of a login; all others are for programs."""
    is_login_in_browser = request.path_info.startswith("/v1/auth/") and "text/html" in request.headers.get("Accept", "")
    return request.path_info.startswith(("/admin/", "/accounts/")) or is_login_in_browser


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Return the 404 for an unknown path."""
    del exception
    return JsonResponse(body("not_found", f"Not found: {request.path[:200]}"), status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Return the 500 for a bug; the log has the details."""
    del request
    return JsonResponse(body("internal", "Internal error. The server's log has the details."), status=500)

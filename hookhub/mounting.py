"""Answers the requests to HookHub in a Django project, as a site of its own: names, errors and headers are HookHub's.

The project's middleware has run by then, and knows nothing of it: paths are relative to where HookHub is included, and
names are looked up among HookHub's own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.exception import convert_exception_to_response
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.transaction import non_atomic_requests
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.urls import get_script_prefix, get_urlconf, resolve, set_script_prefix, set_urlconf
from django.utils import translation
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from deliveries import timezone
from hookhub import middleware
from hookhub.dialects.not_found import not_found
from hookhub.http import access_log, links, security_headers
from hookhub.postgresql.errors import ErrorWrapper

Handler = Callable[[HttpRequest], Any]
SITE = "hookhub.patterns"
# From the outside to the inside, in the order in which the service has them among the framework's own.
MIDDLEWARE: tuple[Callable[[Handler], Handler], ...] = (
    middleware.answer_health_checks,
    access_log.identify,
    middleware.carry_traces,
    middleware.limit_addresses,
    middleware.refuse_unreadable,
    middleware.accept_events,
    middleware.end_loops,
    security_headers.protect_pages,
    middleware.name_the_actor,
)


@login_not_required
@csrf_exempt  # The site's own views say which of them are exempt.
@non_atomic_requests  # An event must be committed before its publisher is told.
def answer(request: HttpRequest, path: str, **_: object) -> HttpResponse:
    """Return the response to a request for a path below the one that HookHub is included at.

    What the project's part of the path captures, such as a tenant, means nothing here.
    """
    with mounted(request, path):
        answered: HttpResponse = _handler()(request)
        return answered


@contextmanager
def mounted(request: HttpRequest, path: str) -> Iterator[None]:
    """Make a request look as if HookHub were the whole project, served under the prefix at which it is included."""
    prefix = request.path_info.removesuffix(path).rstrip("/")
    before = {name: getattr(request, name, None) for name in ("path_info", "urlconf", "resolver_match")}
    environ = {name: request.META.get(name, "") for name in ("PATH_INFO", "SCRIPT_NAME")}
    script_prefix, urlconf = get_script_prefix(), get_urlconf()
    # Django remembers the first value, to which it adds the prefix that is in force when it is first read.
    _ = settings.STATIC_URL, settings.MEDIA_URL
    if not hasattr(request, "user"):
        request.user = AnonymousUser()
    request.path_info = request.META["PATH_INFO"] = f"/{path}"
    request.META["SCRIPT_NAME"] = f"{environ['SCRIPT_NAME'].rstrip('/')}{prefix}"
    request.urlconf = SITE
    set_script_prefix(f"{script_prefix.rstrip('/')}{prefix}/")
    set_urlconf(SITE)
    try:
        with links.part_of(script_prefix), translation.override("en"), timezone.override("UTC"), session_errors():
            yield
    finally:
        set_urlconf(urlconf)
        set_script_prefix(script_prefix)
        request.META |= environ
        for name, value in before.items():
            setattr(request, name, value)


@contextmanager
def session_errors() -> Iterator[None]:
    """Let errors of the session, as of a read-only server, be OperationalErrors, which are answered with 503.

    The service has a database backend for that, which a project need not have.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    before = connection.wrap_database_errors
    connection.wrap_database_errors = ErrorWrapper(connection)
    try:
        yield
    finally:
        connection.wrap_database_errors = before


@lru_cache(maxsize=1)
def _handler() -> Handler:
    """Return what handles a request: HookHub's middleware around its views."""
    handler: Handler = convert_exception_to_response(_dispatch)
    for each in reversed(MIDDLEWARE):
        handler = convert_exception_to_response(each(handler))
    return handler


def _dispatch(request: HttpRequest) -> HttpResponse:
    try:
        found = request.resolver_match = resolve(request.path_info, urlconf=SITE)
        answered: HttpResponse = csrf_protect(found.func)(request, *found.args, **found.kwargs)
        # Rendered within the site, whose names the templates use.
        return answered.render() if isinstance(answered, SimpleTemplateResponse) else answered
    except Http404 as error:
        # Also with DEBUG, where Django shows the project's patterns: the callers are programs.
        return not_found(request, error)

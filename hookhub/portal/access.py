"""Who may see a page of the portal: the cookie of an open session, and for forms the session's token."""

from collections.abc import Callable
from functools import wraps
from hmac import compare_digest
from typing import Concatenate, ParamSpec, cast

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from deliveries import audit
from deliveries.audit import Actor
from deliveries.rates import TooMany
from hookhub import portal_sessions
from hookhub.http import rate_limits
from hookhub.http.actors import request_id_of
from hookhub.http.client_address import address_of
from hookhub.http.security_headers import POLICY, written
from hookhub.models import PortalSession

P = ParamSpec("P")
# The pages have no scripts and no styles but those of their own files.
STRICT = written({**POLICY, "style-src-attr": "'none'", "script-src-attr": "'none'"})
Page = Callable[Concatenate[HttpRequest, PortalSession, P], HttpResponse]


def for_session(page: "Page[P]") -> "Callable[Concatenate[HttpRequest, P], HttpResponse]":
    """Let a page get the session of the request; without one, respond that it has ended."""

    @csrf_exempt  # Forms carry the session's own token, checked below.
    @wraps(page)
    def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        now = timezone.now()
        cookie = request.COOKIES.get(settings.HOOKHUB_PORTAL_COOKIE, "")
        session = portal_sessions.find(cookie, now=now) if cookie else None
        if session is None:
            return ended(request)
        is_change = request.method not in {"GET", "HEAD"}
        if is_change and not is_own_form(request, session):
            return refused(request, session)
        audit.identify(lambda: Actor("portal", str(session.pk), "", address_of(request.META), request_id_of(request)))
        try:
            if is_change:
                rate_limits.take_request(f"portal-{session.pk}", session.organization)
            return protected(page(request, session, *args, **kwargs))
        except (Http404, ObjectDoesNotExist):
            # A row may have been deleted since the page first read it.
            return missing(request, session)
        except TooMany as error:
            return throttled(request, session, error)

    return cast("Callable[Concatenate[HttpRequest, P], HttpResponse]", answer)


def for_manager(page: "Page[P]") -> "Callable[Concatenate[HttpRequest, P], HttpResponse]":
    """Do as ``for_session``, and refuse a session that may only look."""

    @wraps(page)
    def managed(request: HttpRequest, session: PortalSession, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        return page(request, session, *args, **kwargs) if session.may_manage else refused(request, session)

    return for_session(cast("Page[P]", managed))


def is_own_form(request: HttpRequest, session: PortalSession) -> bool:
    """Return whether the request comes from a form on a page of this session."""
    token = request.POST.get("form_token", "")
    return compare_digest(token.encode(), portal_sessions.form_token(session).encode())


def ended(request: HttpRequest, *, status: int = 401) -> HttpResponse:
    """Return the page for a visitor without an open session."""
    return protected(render(request, "hookhub/portal/ended.html", status=status))


def refused(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """Return the page for a change that this session may not make, or that another site asked for."""
    return protected(render(request, "hookhub/portal/refused.html", {"session": session}, status=403))


def missing(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """Return the page for what does not exist, or not in this session."""
    context = {"session": session, "form_token": portal_sessions.form_token(session)}
    return protected(render(request, "hookhub/portal/missing.html", context, status=404))


def throttled(request: HttpRequest, session: PortalSession, error: TooMany) -> HttpResponse:
    """Return the page for a session, or an organization, that changes too much in a minute."""
    context = {
        "session": session,
        "form_token": portal_sessions.form_token(session),
        "seconds": error.standing.reset,
    }
    answer = protected(render(request, "hookhub/portal/too_many.html", context, status=429))
    answer.headers["Retry-After"] = str(error.standing.reset)
    return answer


def protected(answer: HttpResponse) -> HttpResponse:
    """Keep a page out of caches and out of other sites."""
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Content-Security-Policy"] = STRICT
    return answer


def set_cookie(answer: HttpResponse, cookie: str, *, session: PortalSession) -> None:
    """Let the browser keep a session until it ends."""
    answer.set_cookie(
        settings.HOOKHUB_PORTAL_COOKIE,
        cookie,
        expires=session.expires_at,
        secure=settings.HOOKHUB_BEHIND_TLS_PROXY,
        httponly=True,
        samesite="Lax",
    )


def delete_cookie(answer: HttpResponse) -> None:
    """Let the browser forget its session."""
    answer.delete_cookie(settings.HOOKHUB_PORTAL_COOKIE)

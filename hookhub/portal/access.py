"""Who may see a page of the portal: the cookie of an open session, and for forms the session's token."""

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from hmac import compare_digest
from http.cookies import Morsel
from typing import Concatenate, ParamSpec, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from deliveries import audit, timezone
from deliveries.audit import Actor
from deliveries.rates import TooMany
from hookhub import portal_sessions
from hookhub.branding import LOCAL, Brand, brand_of
from hookhub.frameworks import LANGUAGES
from hookhub.http import rate_limits
from hookhub.http.actors import actor_of_session, request_id_of
from hookhub.http.client_address import address_of
from hookhub.http.security_headers import POLICY, written
from hookhub.models import PortalSession
from hookhub.replays import MAX_RUNNING, TooManyRunning

# Of a page whose form is sent to its own address.
require_safe_or_post = require_http_methods(["GET", "HEAD", "POST"])

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, PortalSession, P], HttpResponse]
# Python 3.14 knows this attribute of cookies: it keeps one apart for each site that embeds the page.
Morsel._reserved.setdefault("partitioned", "Partitioned")  # type: ignore[attr-defined]  # noqa: SLF001
Morsel._flags.add("partitioned")  # type: ignore[attr-defined]  # noqa: SLF001


def for_session(view: "Page[P]") -> "Callable[Concatenate[HttpRequest, P], HttpResponse]":
    """Let a view get the session of the request, in its language; without one, respond that it has ended."""

    @csrf_exempt  # Forms carry the session's own token, checked below.
    @wraps(view)
    def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        cookie = request.COOKIES.get(settings.HOOKHUB_PORTAL_COOKIE, "")
        session = portal_sessions.find(cookie, now=timezone.now()) if cookie else None
        if session is None or not is_still_logged_in(request, session):
            return ended(request, session or (portal_sessions.find_ended(cookie) if cookie else None))
        with localized(request, session):
            return protected(respond(request, session, *args, **kwargs), brand_of_session(session))

    def respond(request: HttpRequest, session: PortalSession, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        is_change = request.method not in {"GET", "HEAD"}
        if is_change and not is_own_form(request, session):
            return refused(request, session)
        audit.identify(lambda: actor_of(request, session))
        try:
            if is_change:
                rate_limits.take_request(f"portal-{session.pk}", session.organization)
            return view(request, session, *args, **kwargs)
        except (Http404, ObjectDoesNotExist):
            # A row may have been deleted since the page first read it.
            return page(request, session, "missing.html", status=404)
        except TooMany as error:
            seconds = error.standing.reset
            shown = page(request, session, "too_many.html", {"seconds": seconds}, status=429)
            shown.headers["Retry-After"] = str(seconds)
            return shown
        except TooManyRunning:
            return page(request, session, "too_many_replays.html", {"most": MAX_RUNNING}, status=409)

    return cast("Callable[Concatenate[HttpRequest, P], HttpResponse]", answer)


def for_manager(view: "Page[P]") -> "Callable[Concatenate[HttpRequest, P], HttpResponse]":
    """Do as ``for_session``, and refuse a session that may only look."""

    @wraps(view)
    def managed(request: HttpRequest, session: PortalSession, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        return view(request, session, *args, **kwargs) if session.may_manage else refused(request, session)

    return for_session(cast("Page[P]", managed))


def is_still_logged_in(request: HttpRequest, session: PortalSession) -> bool:
    """Return whether the login of a member's session still holds; a session that a link opened needs none."""
    return session.user_id is None or request.user.pk == session.user_id


def actor_of(request: HttpRequest, session: PortalSession) -> Actor:
    """Return who acts in a session: the member, or the session itself if a link opened it."""
    if session.user_id is not None:
        return actor_of_session(request)
    return Actor("portal", str(session.pk), "", address_of(request.META), request_id_of(request))


def preferred_language(request: HttpRequest) -> str:
    """Return the language that the browser prefers, of those that the portal speaks."""
    preferred = translation.get_language_from_request(request).partition("-")[0]
    return preferred if preferred in dict(LANGUAGES) else "en"


@contextmanager
def localized(request: HttpRequest, session: PortalSession | None) -> Iterator[None]:
    """Use the language and the time zone of a session, or the language that the browser prefers and UTC."""
    locale, zone = (session.locale, session.time_zone) if session else (None, None)
    with (
        translation.override(locale or preferred_language(request)),
        timezone.override(zone or "UTC"),
    ):
        yield


def is_own_form(request: HttpRequest, session: PortalSession) -> bool:
    """Return whether the request comes from a form on a page of this session."""
    token = request.POST.get("form_token", "")
    return compare_digest(token.encode(), portal_sessions.form_token(session).encode())


def ended(request: HttpRequest, session: PortalSession | None, *, status: int = 401) -> HttpResponse:
    """Return the page for a visitor without an open session; ``session`` is the one that ended, if it is known."""
    return notice(request, session, "ended.html", status=status)


def notice(
    request: HttpRequest,
    session: PortalSession | None,
    template: str,
    *,
    status: int,
    more: Mapping[str, object] | None = None,
) -> HttpResponse:
    """Return a page outside of any session; it shows nothing of the organization but its brand.

    Any site may embed it, because the browser may not have kept what tells the organization.
    """
    with localized(request, session):
        brand = brand_of_session(session)._replace(origins=("*",))
        context = {"theme": session.theme if session else "auto", "brand": brand, **(more or {})}
        return protected(render(request, f"hookhub/portal/{template}", context, status=status), brand)


def refused(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """Return the page for a change that this session may not make, or that another site asked for."""
    return page(request, session, "refused.html", status=403)


def page(
    request: HttpRequest,
    session: PortalSession,
    template: str,
    context: Mapping[str, object] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    """Return a page of a session; ``template`` is the name of a file in templates/hookhub/portal."""
    return render(request, f"hookhub/portal/{template}", {**(context or {}), **frame_of(session)}, status=status)


def frame_of(session: PortalSession) -> dict[str, object]:
    """Return what the frame of each page of a session needs."""
    return {
        "session": session,
        "theme": session.theme,
        "brand": brand_of_session(session),
        "form_token": portal_sessions.form_token(session),
        "of_organization": session.is_of_organization,
    }


def brand_of_session(session: PortalSession | None) -> Brand:
    """Return the brand of a session's organization."""
    return Brand() if session is None else brand_of(getattr(session.organization, "portal_settings", None))


def protected(answer: HttpResponse, brand: Brand) -> HttpResponse:
    """Keep a page out of caches, and out of sites that its organization has not named."""
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Content-Security-Policy"] = policy_of(brand)
    # The older header knows no list of origins; browsers that know the policy above do not need it.
    answer.xframe_options_exempt = bool(brand.origins)
    return answer


def policy_of(brand: Brand) -> str:
    """Return the Content-Security-Policy of a page: no inline scripts, no styles but those of its files and brand."""
    styles = "'self'"
    if brand.style:
        digest = base64.b64encode(hashlib.sha256(brand.style.encode()).digest()).decode()
        styles = f"'self' 'sha256-{digest}'"
    own = {"style-src": styles, "style-src-attr": "'none'", "script-src-attr": "'none'"}
    return written({**POLICY, **own, "frame-ancestors": " ".join(brand.origins) or "'none'"})


def set_cookie(answer: HttpResponse, cookie: str, *, session: PortalSession) -> None:
    """Let the browser keep a session until it ends, also within the pages of other sites if they may embed it.

    Browsers send such a cookie only over TLS or from their own machine.
    """
    is_safe = settings.HOOKHUB_BEHIND_TLS_PROXY or urlsplit(settings.HOOKHUB_PUBLIC_URL).hostname in LOCAL
    is_embedded = is_safe and bool(brand_of_session(session).origins)
    answer.set_cookie(
        settings.HOOKHUB_PORTAL_COOKIE,
        cookie,
        expires=session.expires_at + portal_sessions.KEPT,
        secure=is_embedded or settings.HOOKHUB_BEHIND_TLS_PROXY,
        httponly=True,
        samesite="None" if is_embedded else "Lax",
    )
    if is_embedded:
        answer.cookies[settings.HOOKHUB_PORTAL_COOKIE]["partitioned"] = True

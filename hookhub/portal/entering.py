"""The ways into the portal and out of it: a link, a member's login, and leaving."""

from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST, require_safe

from deliveries import timezone
from hookhub import portal_sessions
from hookhub.branding import Brand
from hookhub.http import links
from hookhub.models import Membership, PortalSession
from hookhub.portal.access import (
    brand_of_session,
    ended,
    for_session,
    localized,
    notice,
    protected,
    require_safe_or_post,
    set_cookie,
)


@require_GET
def enter(request: HttpRequest) -> HttpResponse:
    """Open the session of a link, and lead to the overview.

    Not for HEAD, with which programs look at the links in a message: it would use up the link.
    """
    opened = portal_sessions.open_by(request.GET.get("token", ""), now=timezone.now())
    if opened is None:
        return notice(request, None, "used.html", status=410)
    session, cookie = opened
    if request.headers.get("Sec-Fetch-Dest") == "iframe" and not brand_of_session(session).origins:
        # The browser would not send the cookie from there.
        return notice(request, session, "embedded.html", status=403)
    return _start_session(session, cookie)


@require_safe_or_post
def members(request: HttpRequest) -> HttpResponse:
    """Let a member that is logged in choose an organization, and open a session for it."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), links.login_page())
    mine = Membership.objects.filter(user_id=cast("Any", request.user.pk))
    memberships = mine.select_related("organization__portal_settings", "user")
    if request.method != "POST":
        with localized(request, None):
            open_to_them = [
                each for each in memberships.order_by("organization__slug") if portal_sessions.role_of(each)
            ]
            context = {"memberships": open_to_them, "theme": "auto"}
            answer = protected(render(request, "hookhub/portal/members.html", context), Brand())
            # Without a referrer, a browser does not name the origin of the form either, by which Django judges it.
            answer.headers["Referrer-Policy"] = "same-origin"
            return answer
    member = memberships.filter(organization__slug=request.POST.get("organization", "")).first()
    lasts = timedelta(seconds=settings.SESSION_COOKIE_AGE)
    opened = None if member is None else portal_sessions.open_for(member, now=timezone.now(), lasts=lasts)
    if opened is None:
        raise Http404
    return _start_session(*opened)


@require_POST
@for_session
def leave(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """End the session."""
    portal_sessions.revoke(session, now=timezone.now())
    return ended(request, session, status=200)


@require_safe
@for_session
def unknown(_request: HttpRequest, _session: PortalSession) -> HttpResponse:
    """Respond to an address that no page has."""
    raise Http404


def _start_session(session: PortalSession, cookie: str) -> HttpResponse:
    answer = protected(redirect("portal:overview"), brand_of_session(session))
    set_cookie(answer, cookie, session=session)
    return answer

"""The pages of django-allauth that HookHub has: logging in and out, the second factor, and the provider's answers."""

from collections.abc import Callable, Iterable
from typing import Any

from allauth.account.urls import urlpatterns as account
from allauth.account.views import LoginView
from allauth.socialaccount.providers.openid_connect.urls import urlpatterns as openid_connect
from allauth.socialaccount.urls import urlpatterns as social
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from hookhub.http.errors import not_found
from hookhub.http.security_headers import POLICY, written

OPEN = {
    "account_login", "account_logout", "account_inactive", "account_reauthenticate", "socialaccount_login_cancelled",
    "socialaccount_login_error",
}  # fmt: skip
# A browser applies the policy to where a form is redirected, too: to the provider.
FORM_POLICY = written({**POLICY, "form-action": "'self' https: http://127.0.0.1:* http://localhost:*"})


class Login(LoginView):  # type: ignore[misc] # allauth has no types
    """allauth's page for logging in; its template is HookHub's."""

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        """Return the context, with whether there is a form for a password."""
        found: dict[str, Any] = super().get_context_data(**context)
        return {**found, "local_login": settings.HOOKHUB_LOCAL_LOGIN}


def leading_away(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Return a view whose form may lead to the provider."""

    def answer(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        answered = view(request, *args, **kwargs)
        answered.headers["Content-Security-Policy"] = FORM_POLICY
        return answered

    return answer


def restricted(patterns: Iterable[URLPattern]) -> list[URLPattern]:
    """Return the patterns with those closed that HookHub does not have: allauth refers to them by name."""
    found = []
    for each in patterns:
        if each.name == "account_login":
            each.callback = leading_away(Login.as_view())
        elif each.name not in OPEN:
            each.callback = not_found
        found.append(each)
    return found


def to_login(request: HttpRequest) -> HttpResponseBase:
    """Lead from one of Django's login pages to allauth's; refuse a person who is logged in and not staff."""
    if request.user.is_authenticated and not request.user.is_staff:
        raise PermissionDenied
    return RedirectView.as_view(pattern_name="account_login", query_string=True)(request)


pages: list[URLPattern | URLResolver] = [
    *restricted(account),
    path("2fa/", include("allauth.mfa.urls")),
    path("3rdparty/", include(restricted(social))),
    *openid_connect,
]
urlpatterns = [
    path("accounts/", include(pages)),
    # In place of Django's own, which know no second factor.
    path("admin/login/", to_login),
    path("v1/auth/login/", to_login),
]

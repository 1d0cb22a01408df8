"""Chooses the presenter of responses at `/v1/webhooks`: that of the organization's dialect, or native on request."""

from collections.abc import Callable, Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from deliveries.models import Organization
from hookhub.api.presenters.codmir import Codmir
from hookhub.api.presenters.coregit import Coregit
from hookhub.api.presenters.native import Native
from hookhub.api.views import APIView
from hookhub.http.authorization import authorize, authorize_webhooks
from hookhub.http.problems import error_response
from hookhub.http.refusals import invalid
from hookhub.models import ApiKey, Scope

NATIVE = Native()
# All other systems have separate paths, and their organizations get native responses here.
PRESENTERS: Mapping[str, Native] = {presenter.slug: presenter for presenter in (Coregit(), Codmir())}

HEADER = "HookHub-Dialect"


class PresentedView(APIView):
    """A view that responds in the shape of its organization's dialect."""

    # Native until the caller is known.
    presenter: Native = NATIVE

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Choose the presenter from the API key, so that it renders even the error for an unreadable body."""
        super().initial(request, *args, **kwargs)
        if isinstance(request.auth, ApiKey) and request.auth.organization is not None:
            self.presenter = presenter_for(request.auth.organization, request)

    def authorize(self, request: Request, *, scope: Scope, organization: object = None) -> Organization:
        """Return the organization as ``authorize_webhooks`` does, and respond in its dialect's shape from here on."""
        found = authorize(request, scope=scope, organization=organization)
        self.presenter = presenter_for(found, request)
        # After the choice of the presenter, so that it renders a refusal.
        return authorize_webhooks(request, scope=scope, organization=organization)

    def get_exception_handler(self) -> Callable[[Exception, Mapping[str, Any]], Response | None]:
        """Return a handler that renders errors with the presenter chosen by the time they happen."""
        return lambda error, context: error_response(error, context, render_error=self.presenter.render_error)


def presenter_for(organization: Organization, request: Request) -> Native:
    """Return the presenter for a request in an organization: its dialect's, or the native one on request.

    Raise a 422 for an invalid HookHub-Dialect.
    """
    requested = request.headers.get(HEADER)
    if requested not in {None, NATIVE.slug}:
        raise invalid({HEADER: f"must be {NATIVE.slug}, or omitted to use the organization's dialect"})
    return NATIVE if requested else PRESENTERS.get(organization.default_dialect, NATIVE)

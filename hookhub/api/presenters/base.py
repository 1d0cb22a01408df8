"""Chooses the response shape at `/v1/webhooks`: that of the organization's dialect, or native on request."""

from collections.abc import Callable, Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries.models import Organization
from hookhub.api.presenters.codmir import Codmir
from hookhub.api.presenters.coregit import Coregit
from hookhub.api.presenters.native import Native
from hookhub.http.authorization import enter, enter_webhooks
from hookhub.http.errors import invalid
from hookhub.http.problems import answer
from hookhub.models import ApiKey, Scope

NATIVE = Native()
# All other systems have separate paths, and their organizations get native responses here.
SHARING: Mapping[str, Native] = {system.slug: system for system in (Coregit(), Codmir())}

HEADER = "HookHub-Dialect"


class Speaking(APIView):
    """A view that responds in the shape of its organization's dialect."""

    # Native until the caller is known.
    spoken: Native = NATIVE

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Choose the shape from the API key, so that even the error for an unreadable body has it."""
        super().initial(request, *args, **kwargs)
        if isinstance(request.auth, ApiKey) and request.auth.organization is not None:
            self.spoken = spoken_in(request.auth.organization, request)

    def enter(self, request: Request, *, needs: Scope, named: object = None) -> Organization:
        """Return the organization as ``permissions.enter`` does, and respond in its dialect's shape from here on."""
        organization = enter(request, needs=needs, named=named)
        self.spoken = spoken_in(organization, request)
        # After the choice of the shape, so that a refusal has it.
        return enter_webhooks(request, needs=needs, named=named)

    def get_exception_handler(self) -> Callable[[Exception, Mapping[str, Any]], Response | None]:
        """Return a handler that renders errors in the shape chosen by the time they happen."""
        return lambda error, context: answer(error, context, tell=self.spoken.tell)


def sharing(organization: Organization) -> Native:
    """Return the dialect of the organization's system if it shares these paths, or else the native one."""
    return SHARING.get(organization.default_dialect, NATIVE)


def spoken_in(organization: Organization, request: Request) -> Native:
    """Return the dialect to respond in to a request for an organization; raise a 422 for an invalid HookHub-Dialect."""
    asked = request.headers.get(HEADER)
    if asked not in {None, NATIVE.slug}:
        raise invalid({HEADER: f"must be {NATIVE.slug}, or omitted to use the organization's dialect"})
    return sharing(organization) if asked is None else NATIVE

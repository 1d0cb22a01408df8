"""Whose words are spoken at `/v1/webhooks`: its organization's, or HookHub's own for who asks for them."""

from collections.abc import Callable, Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries.models import Organization
from hookhub.api.errors import invalid
from hookhub.api.permissions import enter, enter_webhooks
from hookhub.dialects.base import answer
from hookhub.dialects.codmir import Codmir
from hookhub.dialects.coregit import Coregit
from hookhub.dialects.native import Native
from hookhub.models import ApiKey, Scope

NATIVE = Native()
# Every other system has addresses of its own, and here its organizations hear HookHub's own words.
SHARING: Mapping[str, Native] = {system.slug: system for system in (Coregit(), Codmir())}

HEADER = "HookHub-Dialect"


class Speaking(APIView):
    """A view that answers in the words of the organization it acts in."""

    # Before it is known who asks, HookHub's own.
    spoken: Native = NATIVE

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Learn from the key whose words to use, so that a body that cannot be read is refused in them too."""
        super().initial(request, *args, **kwargs)
        if isinstance(request.auth, ApiKey) and request.auth.organization is not None:
            self.spoken = spoken_in(request.auth.organization, request)

    def enter(self, request: Request, *, needs: Scope, named: object = None) -> Organization:
        """Give the organization the request acts in, as permissions.enter does, and speak its words from here on."""
        organization = enter(request, needs=needs, named=named)
        self.spoken = spoken_in(organization, request)
        # Refused in the words that are spoken.
        return enter_webhooks(request, needs=needs, named=named)

    def get_exception_handler(self) -> Callable[[Exception, Mapping[str, Any]], Response | None]:
        """Tell refusals in the words that are spoken when they happen."""
        return lambda error, context: answer(error, context, tell=self.spoken.tell)


def sharing(organization: Organization) -> Native:
    """Give the way of the organization's system, if it is one that shares these addresses."""
    return SHARING.get(organization.default_dialect, NATIVE)


def spoken_in(organization: Organization, request: Request) -> Native:
    """Give whose words to use in answer to a request that acts in an organization."""
    asked = request.headers.get(HEADER)
    if asked not in {None, NATIVE.slug}:
        raise invalid({HEADER: f"can only be {NATIVE.slug}; leave it out to speak as the organization does"})
    return sharing(organization) if asked is None else NATIVE

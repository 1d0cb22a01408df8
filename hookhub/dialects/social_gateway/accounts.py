"""What GitHub's clients ask first: who a token is, which addresses there are, how many requests are left."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hookhub import rate_limits
from hookhub.api.throttling import caller_of
from hookhub.dialects.base import organization_at
from hookhub.dialects.social_gateway import shapes
from hookhub.dialects.social_gateway.documents import AccountShown, RateLimitShown
from hookhub.dialects.social_gateway.views import SocialGatewayView
from hookhub.models import ApiKey, Scope

# Shown where this deployment has no limit: what GitHub allows in an hour. Clients stop by themselves at 0.
UNLIMITED = 5000
RESOURCES = (
    "core", "search", "graphql", "integration_manifest", "source_import", "code_scanning_upload", "code_search",
)  # fmt: skip
ONLY_VIEWER = "GraphQL is answered only as far as `viewer { login }`; use the REST API at /api/v3."


class UserView(SocialGatewayView):
    """The account that a key belongs to: its organization."""

    @extend_schema(summary="Get the account of the key", responses=AccountShown)
    def get(self, request: Request) -> Response:
        return Response(_account_of_key(request))


class AccountView(SocialGatewayView):
    """An organization that the key can see, which GitHub's clients ask for as a user or as an organization."""

    @extend_schema(summary="Get an account", responses=AccountShown)
    def get(self, request: Request, owner: str) -> Response:
        organization = organization_at(request, owner, needs=Scope.READ)
        return Response(shapes.account(organization, shapes.root_of(request)))


class RateLimitView(SocialGatewayView):
    """The limit of requests that the key is nearest to, in GitHub's shape; its window is a minute."""

    @extend_schema(summary="Get the rate limit", responses=RateLimitShown)
    def get(self, request: Request) -> Response:
        row = _limit_of(request, now=int(timezone.now().timestamp()))
        return Response({"resources": {name: {**row, "resource": name} for name in RESOURCES}, "rate": row})


@extend_schema(exclude=True)
class RootView(SocialGatewayView):
    """The addresses of the API, by which clients find out that there is one."""

    def get(self, request: Request) -> Response:
        root = shapes.root_of(request)
        return Response(
            {
                "current_user_url": f"{root}/user",
                "emails_url": f"{root}/user/emails",
                "hub_url": f"{root}/hub",
                "organization_url": f"{root}/orgs/{{org}}",
                "rate_limit_url": f"{root}/rate_limit",
                "repository_url": f"{root}/repos/{{owner}}/{{repo}}",
                "user_url": f"{root}/users/{{user}}",
            }
        )


@extend_schema(exclude=True)
class GraphQLView(SocialGatewayView):
    """The one question that GitHub's command line asks in GraphQL: whose token this is."""

    def post(self, request: Request) -> Response:
        query = self.body.get("query")
        if isinstance(query, str) and "viewer" in query and "login" in query:
            return Response({"data": {"viewer": {"login": _account_of_key(request)["login"]}}})
        return Response({"errors": [{"type": "NOT_IMPLEMENTED", "message": ONLY_VIEWER}]})


def _limit_of(request: Request, *, now: int) -> dict[str, int]:
    """Return the limit with the least left, and when there is more in seconds since 1970."""
    organization = request.auth.organization if isinstance(request.auth, ApiKey) else None
    caller = caller_of(request)
    standings = [] if caller is None else rate_limits.look_requests(caller, organization)
    if not standings:
        return {"limit": UNLIMITED, "remaining": UNLIMITED, "used": 0, "reset": now + 3600}
    nearest = min(standings, key=lambda standing: standing.remaining)
    used = nearest.quota - nearest.remaining
    return {"limit": nearest.quota, "remaining": nearest.remaining, "used": used, "reset": now + nearest.reset}


def _account_of_key(request: Request) -> dict[str, Any]:
    organization = request.auth.organization if isinstance(request.auth, ApiKey) else None
    root = shapes.root_of(request)
    return shapes.operator(root) if organization is None else shapes.account(organization, root)

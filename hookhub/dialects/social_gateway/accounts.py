"""What GitHub's clients request first: the key's account, the repository, the API's URLs, the rate limit."""

from typing import Any

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import timezone
from hookhub.dialects.base import organization_at, repository_at
from hookhub.dialects.social_gateway import representation
from hookhub.dialects.social_gateway.openapi import AccountShown, OrganizationShown, RateLimitShown, RepositoryShown
from hookhub.dialects.social_gateway.representation import Place
from hookhub.dialects.social_gateway.views import SocialGatewayView, rate_of
from hookhub.http.authorization import may_manage_webhooks
from hookhub.http.openapi import extend_schema
from hookhub.http.throttling import standings_of
from hookhub.models import ApiKey, Scope

RESOURCES = (
    "core", "search", "graphql", "integration_manifest", "source_import", "code_scanning_upload", "code_search",
)  # fmt: skip
# All URLs in GitHub's root document; those of hooks, accounts and limits exist here.
TEMPLATES = {
    "current_user_url": "/user",
    "current_user_authorizations_html_url": "/settings/connections/applications{/client_id}",
    "authorizations_url": "/authorizations",
    "code_search_url": "/search/code?q={query}{&page,per_page,sort,order}",
    "commit_search_url": "/search/commits?q={query}{&page,per_page,sort,order}",
    "emails_url": "/user/emails",
    "emojis_url": "/emojis",
    "events_url": "/events",
    "feeds_url": "/feeds",
    "followers_url": "/user/followers",
    "following_url": "/user/following{/target}",
    "gists_url": "/gists{/gist_id}",
    "hub_url": "/hub",
    "issue_search_url": "/search/issues?q={query}{&page,per_page,sort,order}",
    "issues_url": "/issues",
    "keys_url": "/user/keys",
    "label_search_url": "/search/labels?q={query}&repository_id={repository_id}{&page,per_page}",
    "notifications_url": "/notifications",
    "organization_url": "/orgs/{org}",
    "organization_repositories_url": "/orgs/{org}/repos{?type,page,per_page,sort}",
    "organization_teams_url": "/orgs/{org}/teams",
    "public_gists_url": "/gists/public",
    "rate_limit_url": "/rate_limit",
    "repository_url": "/repos/{owner}/{repo}",
    "repository_search_url": "/search/repositories?q={query}{&page,per_page,sort,order}",
    "current_user_repositories_url": "/user/repos{?type,page,per_page,sort}",
    "starred_url": "/user/starred{/owner}{/repo}",
    "starred_gists_url": "/gists/starred",
    "topic_search_url": "/search/topics?q={query}{&page,per_page}",
    "user_url": "/users/{user}",
    "user_organizations_url": "/user/orgs",
    "user_repositories_url": "/users/{user}/repos{?type,page,per_page,sort}",
    "user_search_url": "/search/users?q={query}{&page,per_page,sort,order}",
}
ONLY_VIEWER = "Only the GraphQL query `viewer { login }` is supported; use the REST API at /api/v3."


class UserView(SocialGatewayView):
    """Retrieve the account that a key belongs to, which is its organization."""

    @extend_schema(summary="Get the account of the key", responses=AccountShown)
    def get(self, request: Request) -> Response:
        return Response(_account_of_key(request))


class AccountView(SocialGatewayView):
    """Retrieve an organization that the key can see, in the shape of a GitHub account."""

    @extend_schema(summary="Get an account", responses=AccountShown)
    def get(self, request: Request, owner: str) -> Response:
        organization = organization_at(request, owner, scope=Scope.READ)
        return Response(representation.account(organization, representation.root_of(request)))


class OrganizationView(SocialGatewayView):
    """Retrieve an organization that the key can see, in the shape of a GitHub organization."""

    @extend_schema(summary="Get an organization", responses=OrganizationShown)
    def get(self, request: Request, owner: str) -> Response:
        organization = organization_at(request, owner, scope=Scope.READ)
        return Response(representation.organization(organization, representation.root_of(request)))


class RepositoryView(SocialGatewayView):
    """Retrieve a repository."""

    @extend_schema(summary="Get a repository", responses=RepositoryShown)
    def get(self, request: Request, owner: str, repo: str) -> Response:
        repository = repository_at(request, owner, repo, scope=Scope.READ, any_case=True, for_webhooks=False)
        may_manage = may_manage_webhooks(request, repository.organization)
        return Response(representation.repository(repository, Place.of(request, repository), may_manage=may_manage))


@extend_schema(exclude=True)
class NowhereView(SocialGatewayView):
    """Responds with a 404 to all other requests about a repository."""

    def get(self, request: Request, rest: str) -> Response:
        raise Http404

    post = put = patch = delete = get


class RateLimitView(SocialGatewayView):
    """Retrieve the rate limit with the fewest requests left, in GitHub's shape. Its window is one minute."""

    @extend_schema(summary="Get the rate limit", responses=RateLimitShown)
    def get(self, request: Request) -> Response:
        row = rate_of(standings_of(request) or (), now=int(timezone.now().timestamp()))
        return Response({"resources": {name: {**row, "resource": name} for name in RESOURCES}, "rate": row})


@extend_schema(exclude=True)
class RootView(SocialGatewayView):
    """The API's root document, by which clients detect the API."""

    def get(self, request: Request) -> Response:
        root = representation.root_of(request)
        return Response({name: f"{root}{template}" for name, template in TEMPLATES.items()})


@extend_schema(exclude=True)
class GraphQLView(SocialGatewayView):
    """Answers the one GraphQL query of GitHub's command line: the login of the key's account."""

    def post(self, request: Request) -> Response:
        query = self.body.get("query")
        if isinstance(query, str) and "viewer" in query and "login" in query:
            return Response({"data": {"viewer": {"login": _account_of_key(request)["login"]}}})
        return Response({"errors": [{"type": "NOT_IMPLEMENTED", "message": ONLY_VIEWER}]})


def _account_of_key(request: Request) -> dict[str, Any]:
    organization = request.auth.organization if isinstance(request.auth, ApiKey) else None
    root = representation.root_of(request)
    return representation.operator(root) if organization is None else representation.account(organization, root)

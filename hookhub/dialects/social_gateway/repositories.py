"""`/repos/:owner/:repo`, which clients request before its hooks."""

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hookhub.dialects.base import repository_at
from hookhub.dialects.social_gateway import representation
from hookhub.dialects.social_gateway.openapi import RepositoryShown
from hookhub.dialects.social_gateway.representation import Place
from hookhub.dialects.social_gateway.views import SocialGatewayView
from hookhub.http.authorization import may_manage_webhooks
from hookhub.models import Scope


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
        del request, rest
        raise Http404

    post = put = patch = delete = get

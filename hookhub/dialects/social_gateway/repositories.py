"""`/repos/:owner/:repo`, which clients ask for before its hooks."""

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries.models import Repository
from hookhub.dialects.base import repository_at
from hookhub.dialects.social_gateway.views import SocialGatewayView
from hookhub.models import Scope


class RepositoryView(SocialGatewayView):
    """One repository."""

    @extend_schema(responses={200: dict})
    def get(self, request: Request, owner: str, repo: str) -> Response:
        return Response(shown(repository_at(request, owner, repo, needs=Scope.READ)))


@extend_schema(exclude=True)
class NowhereView(SocialGatewayView):
    """What is asked of a repository and is not here."""

    def get(self, request: Request, rest: str) -> Response:
        del request, rest
        raise Http404

    post = put = patch = delete = get


def shown(repository: Repository) -> dict[str, object]:
    return {"id": repository.pk, "name": repository.name, "full_name": repository.full_name}

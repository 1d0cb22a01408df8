"""The topics themselves: the latest event of a type in a repository, with the address of the hub."""

from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from deliveries.formats.websub import CONTENT_TYPE, link
from deliveries.models import Event, Repository
from hookhub.dialects.base import organization_in_any_case, repository_in_any_case
from hookhub.dialects.social_gateway import hook_changes
from hookhub.dialects.social_gateway.hub.requests import JSON_SUFFIX
from hookhub.dialects.social_gateway.views import SocialGatewayView
from hookhub.http.links import url_of
from hookhub.http.openapi import extend_schema
from hookhub.models import INCLUDED, ApiKey, Scope

HUB = "/hub"
# How many of the organization's events are looked through: anybody may ask for a topic that had none for long.
MAX_SCANNED = 10_000


class TopicView(SocialGatewayView):
    """Retrieve the latest event of a topic; its Link header has the addresses to subscribe at and to."""

    # Topics of public repositories are for everybody.
    permission_classes = ()

    @extend_schema(
        summary="Get the latest event of a topic",
        parameters=[OpenApiParameter("owner", str, OpenApiParameter.PATH)],
        responses={200: dict, 204: None},
    )
    def get(self, request: Request, owner: str, repo: str, event: str) -> HttpResponseBase:
        repository = visible_repository(request, owner, repo)
        if repository is None:
            raise Http404
        name = event.removesuffix(JSON_SUFFIX)
        if hook_changes.unknown_events([name], organization=repository.organization):
            raise Http404
        path = request.path_info.removesuffix(JSON_SUFFIX) + JSON_SUFFIX
        links = {"Link": link(hub=url_of(HUB, request), topic=url_of(path, request))}
        payload = latest_payload(repository, name)
        if payload is None:
            return HttpResponse(status=204, headers=links)
        return HttpResponse(payload, content_type=CONTENT_TYPE, headers=links)


def latest_payload(repository: Repository, event: str) -> bytes | None:
    """Return the payload of the latest event of a topic; None if the last MAX_SCANNED events have none."""
    recent = Event.objects.filter(organization=repository.organization_id).order_by("-id").values("id")
    oldest = recent[MAX_SCANNED - 1 : MAX_SCANNED].first()
    found = Event.objects.filter(
        organization=repository.organization_id, repository=repository, webhook=None, topics__contains=[event]
    )
    if oldest is not None:
        found = found.filter(id__gte=oldest["id"])
    payload = found.order_by("-id").values_list("payload", flat=True).first()
    return None if payload is None else bytes(payload)


def visible_repository(request: Request, owner: str, repo: str) -> Repository | None:
    """Return the repository with these names, in any case; None if there is none that the caller may see."""
    found = find_repository(owner, repo)
    return found if found is not None and is_visible(request, found) else None


def is_visible(request: Request, repository: Repository) -> bool:
    """Return whether the caller may see a repository's topics."""
    return not repository.private or has_access(request, repository)


def find_repository(owner: str, repo: str) -> Repository | None:
    """Return the repository with these names, in any case, whether or not the caller may see it."""
    if "\0" in owner + repo:
        return None
    organization = organization_in_any_case(slug=owner)
    return None if organization is None else repository_in_any_case(organization=organization.pk, name=repo)


def has_access(request: Request, repository: Repository) -> bool:
    """Return whether the caller has a key that may read the organization's repositories."""
    return has_scope(request, Scope.READ, organization_id=repository.organization_id)


def has_scope(request: Request, scope: Scope, *, organization_id: int) -> bool:
    """Return whether the caller has a key with this scope in an organization."""
    key = request.auth
    if not isinstance(key, ApiKey) or scope not in INCLUDED[Scope(key.scope)]:
        return False
    return key.organization_id is None or key.organization_id == organization_id

"""`/repos/:owner/:repo/hooks`: list, create, retrieve, change, delete, ping and test hooks."""

from typing import cast

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import timezone
from deliveries.db.lookups import Lookup
from deliveries.event_types import catalogue
from deliveries.models import Repository, Webhook
from deliveries.webhooks import lifecycle
from hookhub.dialects.base import read_number, repository_at
from hookhub.dialects.social_gateway import hook_changes, hook_config, pagination, pings, representation
from hookhub.dialects.social_gateway.hook_types import CATALOGUE, SERVICES
from hookhub.dialects.social_gateway.openapi import ConfigBody, ConfigToSet, HookBody, HookEdit, HookShown, ServiceRow
from hookhub.dialects.social_gateway.representation import Place
from hookhub.dialects.social_gateway.views import SocialGatewayView
from hookhub.http.authorization import require
from hookhub.http.openapi import extend_schema
from hookhub.models import ApiKey, Scope

X_SOCIAL_GATEWAY = (
    "Deliveries carry X-SocialGateway-Event and X-SocialGateway-Delivery headers. "
    "For X-GitHub-Event, set the organization's default_format to github."
)


class HooksView(SocialGatewayView):
    """List a repository's hooks, oldest first, or create one."""

    @extend_schema(
        summary="List a repository's hooks",
        parameters=[OpenApiParameter("page", int), OpenApiParameter("per_page", int)],
        responses=HookShown(many=True),
    )
    def get(self, request: Request, owner: str, repo: str) -> Response:
        """List a repository's hooks, oldest first."""
        repository = repository_at(request, owner, repo, scope=Scope.READ, any_case=True)
        size = pagination.per_page(request)
        page = pagination.whole(request, "page", default=1, most=pagination.MAX_PAGE)
        found = Webhook.objects.kept().of_repository(repository)
        last = max(1, -(-found.count() // size))
        # The ids first: the last attempts of the webhooks on all pages before would be looked up, too.
        ids = list(found.order_by("pk").values_list("pk", flat=True)[(page - 1) * size : page * size])
        rows = representation.with_last_attempt(Webhook.objects.filter(pk__in=ids)).order_by("pk")
        place = Place.of(request, repository)
        headers = pagination.pages_link(request, page=page, last=last)
        return Response([representation.hook(webhook, place) for webhook in rows], headers=headers)

    @extend_schema(summary="Create a hook", request=HookBody, responses={201: HookShown})
    def post(self, request: Request, owner: str, repo: str) -> Response:
        """Create a hook."""
        repository = repository_at(request, owner, repo, scope=Scope.MANAGE, any_case=True)
        webhook = hook_changes.create(self.body, repository=repository, now=timezone.now())
        place = Place.of(request, repository)
        row = representation.hook(fresh(webhook), place)
        return Response(row, status=201, headers={"Location": row["url"], **notice(webhook.format)})


def notice(wire_format: str) -> dict[str, str]:
    """Return the header that warns of header names which receivers for GitHub do not read, if the format has them."""
    return {"X-HookHub-Notice": X_SOCIAL_GATEWAY} if wire_format == "social-gateway" else {}


class HookView(SocialGatewayView):
    """Retrieve, change or delete a hook."""

    @extend_schema(summary="Get a hook", responses=HookShown)
    def get(self, request: Request, owner: str, repo: str, webhook: str) -> Response:
        """Get a hook."""
        repository, found = find(request, owner, repo, webhook, scope=Scope.READ)
        return Response(representation.hook(fresh(found), Place.of(request, repository)))

    @extend_schema(summary="Change a hook", request=HookEdit, responses=HookShown)
    def patch(self, request: Request, owner: str, repo: str, webhook: str) -> Response:
        """Change the fields of a hook that the request names; `config` replaces all of its settings."""
        repository, found = find(request, owner, repo, webhook, scope=Scope.MANAGE)
        changed = hook_changes.edit(self.body, webhook=found, now=timezone.now())
        return Response(representation.hook(fresh(changed), Place.of(request, repository)))

    @extend_schema(summary="Delete a hook", responses={204: None})
    def delete(self, request: Request, owner: str, repo: str, webhook: str) -> Response:
        """Delete a hook."""
        _, found = find(request, owner, repo, webhook, scope=Scope.MANAGE)
        lifecycle.delete(found.pk, now=timezone.now())
        return Response(status=204)


class ConfigView(SocialGatewayView):
    """Retrieve or change a hook's settings. PATCH changes only those that it names."""

    @extend_schema(summary="Get a hook's configuration", responses=ConfigBody)
    def get(self, request: Request, owner: str, repo: str, webhook: str) -> Response:
        """Get a hook's settings."""
        _, found = find(request, owner, repo, webhook, scope=Scope.READ)
        return Response(hook_config.shown(found))

    @extend_schema(summary="Change a hook's configuration", request=ConfigToSet, responses=ConfigBody)
    def patch(self, request: Request, owner: str, repo: str, webhook: str) -> Response:
        """Change the settings of a hook that the request names."""
        _, found = find(request, owner, repo, webhook, scope=Scope.MANAGE)
        hook_changes.change_config(self.body, webhook=found, now=timezone.now())
        return Response(hook_config.shown(fresh(found)))


class TestView(SocialGatewayView):
    """Send the repository's latest push to this hook only, if it subscribes to pushes."""

    @extend_schema(summary="Send the latest push to a hook", request=None, responses={204: None})
    def post(self, request: Request, owner: str, repo: str, webhook: str) -> Response:
        repository, found = find(request, owner, repo, webhook, scope=Scope.MANAGE)
        pings.test(found, repository, now=timezone.now())
        return Response(status=204)


class PingView(SocialGatewayView):
    """Send a ping to a hook, whatever it subscribes to."""

    @extend_schema(summary="Ping a hook", request=None, responses={204: None})
    def post(self, request: Request, owner: str, repo: str, webhook: str) -> Response:
        repository, found = find(request, owner, repo, webhook, scope=Scope.MANAGE)
        place = Place.of(request, repository)
        pings.ping(
            found,
            hook=representation.hook(fresh(found), place),
            repository=representation.repository(repository, place, may_manage=True),
            now=timezone.now(),
        )
        return Response(status=204)


class ServicesView(SocialGatewayView):
    """List the kinds of hooks, with the events and the settings of each."""

    @extend_schema(summary="List the kinds of hooks", responses=ServiceRow(many=True))
    def get(self, request: Request) -> Response:
        require(Scope.READ, held=Scope(cast("ApiKey", request.auth).scope))
        events = sorted(catalogue.of(CATALOGUE).types)
        return Response(
            [
                {"name": service.name, "events": events, "schema": [list(setting) for setting in service.schema]}
                for service in SERVICES.values()
            ]
        )


def find(request: Request, owner: str, repo: str, number: str, *, scope: Scope) -> tuple[Repository, Webhook]:
    """Return a repository and one of its webhooks; raise a 403 without this scope, a 404 if unknown."""
    repository = repository_at(request, owner, repo, scope=scope, any_case=True)
    webhook = _webhook(repository=repository.pk, number=read_number(number))
    if webhook is None:
        raise Http404
    webhook.repository = repository
    return repository, webhook


_webhook = Lookup(
    lambda repository, number: Webhook.objects.kept().filter(repository_id=repository, pk=number),
    "repository",
    "number",
)


def fresh(webhook: Webhook) -> Webhook:
    """Return a webhook read again from the database, with its last attempt."""
    return representation.with_last_attempt(Webhook.objects.kept()).get(pk=webhook.pk)

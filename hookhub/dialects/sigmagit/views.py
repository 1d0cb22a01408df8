"""Sigmagit's six operations, under `/api/`."""

from dataclasses import asdict
from typing import Any, ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import stats, timezone
from deliveries.event_types.topics import MAX_TYPE_LENGTH
from deliveries.models import Webhook
from deliveries.sending.url import MAX_LENGTH
from deliveries.webhooks import changing, creating, lifecycle
from deliveries.webhooks.fields import MAX_EVENTS
from hookhub.dialects.base import DialectView, repository_at
from hookhub.dialects.sigmagit.chat import DISCORD, OWN, SLACK, format_for
from hookhub.dialects.sigmagit.log import SigmagitAttemptSerializer, answer_with_log
from hookhub.dialects.sigmagit.showing import (
    SigmagitErrorSerializer,
    SigmagitNewWebhookSerializer,
    SigmagitWebhookSerializer,
    render_problem,
    shown,
    shown_as_new,
)
from hookhub.http.authorization import authorize_webhooks
from hookhub.http.event_type_names import validate_event_types
from hookhub.http.openapi import extend_schema
from hookhub.http.pagination import Whole
from hookhub.http.patterns import EVENT_PATTERN, URL_PATTERN
from hookhub.http.problems import Problem
from hookhub.http.query import read_uuid
from hookhub.http.refusals import invalid
from hookhub.models import Scope

SLUG = "sigmagit"
TITLE = "Sigmagit"
DEFAULT_EVENTS = ["issues.opened", "pull_request.opened", "push"]


def data(name: str, inner: serializers.BaseSerializer[Any]) -> serializers.Serializer[Any]:
    """Return the OpenAPI description of a response in Sigmagit's envelope."""
    return inline_serializer(f"Sigmagit{name}Answer", {"data": inner})


def events_to_set(**options: Any) -> serializers.ListField:
    """Return the OpenAPI description of a list of events in a request, where null is the same as absent."""
    word = serializers.RegexField(EVENT_PATTERN, max_length=MAX_TYPE_LENGTH)
    return serializers.ListField(
        child=word, min_length=1, max_length=MAX_EVENTS, required=False, allow_null=True, **options
    )


class SigmagitView(DialectView):
    """The base of Sigmagit's views."""

    slug: ClassVar[str] = SLUG
    title: ClassVar[str] = TITLE
    error_serializer = SigmagitErrorSerializer


class RepositoryWebhooksView(SigmagitView):
    """List a repository's webhooks, or create one."""

    @staticmethod
    def render_error(problem: Problem) -> Response:
        """Return an error in Sigmagit's shape, which does not distinguish missing and inaccessible repositories."""
        return render_problem(problem, missing="Repository not found or unauthorized")

    @extend_schema(
        summary="List a repository's webhooks", responses=data("Webhooks", SigmagitWebhookSerializer(many=True))
    )
    def get(self, request: Request, owner: str, repo: str) -> Response:
        """List a repository's webhooks. If there are more than 1,000, the Link header leads to the rest."""
        repository = repository_at(request, owner, repo, scope=Scope.READ)
        found = Webhook.objects.kept().of_repository(repository).select_related("repository")
        paginator = Whole()
        page: list[Webhook] = paginator.paginate_queryset(found, request, self) or []
        return Response({"data": [shown(webhook) for webhook in page]}, headers=paginator.links())

    @extend_schema(
        summary="Create a webhook",
        request=inline_serializer(
            "SigmagitNewWebhookRequest",
            {
                "url": serializers.RegexField(URL_PATTERN, max_length=MAX_LENGTH),
                "events": events_to_set(default=DEFAULT_EVENTS),
            },
        ),
        responses=data("NewWebhook", SigmagitNewWebhookSerializer()),
    )
    def post(self, request: Request, owner: str, repo: str) -> Response:
        """Create a webhook. The response is a 200 and contains the secret, which is shown only once.

        Webhooks for Slack and Discord have no secret.
        """
        repository = repository_at(request, owner, repo, scope=Scope.MANAGE)
        fields = present_fields(self.body, "url", "events")
        fields.setdefault("events", DEFAULT_EVENTS)
        fields["format"] = format_for(fields.get("url"))
        validate_event_types(fields, dialect=SLUG, organization=repository.organization)
        webhook, secret = creating.create(
            fields, organization=repository.organization, repository=repository, now=timezone.now()
        )
        return Response({"data": shown_as_new(webhook, secret)})


class OneWebhookView(SigmagitView):
    """The base of the views of one webhook."""

    @staticmethod
    def render_error(problem: Problem) -> Response:
        """Return an error in Sigmagit's shape, which does not distinguish missing and inaccessible webhooks."""
        return render_problem(problem, missing="Webhook not found")


class WebhookView(OneWebhookView):
    """Change or delete a webhook."""

    @extend_schema(
        summary="Change a webhook",
        request=inline_serializer(
            "SigmagitWebhookRequest",
            {
                "url": serializers.RegexField(URL_PATTERN, max_length=MAX_LENGTH, required=False, allow_null=True),
                "events": events_to_set(),
                "active": serializers.BooleanField(required=False, allow_null=True),
            },
        ),
        responses=data("Webhook", SigmagitWebhookSerializer()),
    )
    def patch(self, request: Request, webhook: str) -> Response:
        """Change a webhook's URL, events or active state.

        Moving it to another host or path generates a new secret, which is then in the response and shown only once.
        """
        found = find(request, webhook, scope=Scope.MANAGE)
        fields = present_fields(self.body, "url", "events", "active")
        active = fields.pop("active", None)
        if active is not None and not isinstance(active, bool):
            raise invalid({"active": "must be true or false"})
        # The masked URL stands for the stored one. A format that was chosen through another API must not change here.
        if fields.get("url", found.shown_url) != found.shown_url and found.format in {OWN, SLACK, DISCORD}:
            fields["format"] = format_for(fields["url"])
        validate_event_types(fields, dialect=SLUG, organization=found.organization)
        changed, secret = changing.change(found.pk, fields, active=active, now=timezone.now())
        return Response({"data": shown(changed, secret)})

    @extend_schema(
        summary="Delete a webhook",
        responses={200: inline_serializer("SigmagitDeleted", {"success": serializers.BooleanField()})},
    )
    def delete(self, request: Request, webhook: str) -> Response:
        """Delete a webhook and cancel its unfinished deliveries."""
        found = find(request, webhook, scope=Scope.MANAGE)
        lifecycle.delete(found.pk, now=timezone.now())
        return Response({"success": True})


class WebhookDeliveriesView(OneWebhookView):
    """List a webhook's attempts."""

    @extend_schema(
        summary="List a webhook's attempts", responses=data("Deliveries", SigmagitAttemptSerializer(many=True))
    )
    def get(self, request: Request, webhook: str) -> HttpResponseBase:
        """List the 100 newest attempts of a webhook."""
        return answer_with_log(find(request, webhook, scope=Scope.READ))


class WebhookStatsView(OneWebhookView):
    """Get a webhook's statistics."""

    @extend_schema(
        summary="Get a webhook's statistics",
        responses=data(
            "Stats",
            inline_serializer(
                "SigmagitStatsData",
                {
                    "total": serializers.IntegerField(),
                    "success": serializers.IntegerField(),
                    "failed": serializers.IntegerField(),
                    "successRate": serializers.FloatField(),
                },
            ),
        ),
    )
    def get(self, request: Request, webhook: str) -> Response:
        """Get a webhook's statistics.

        `success` counts the attempts answered with 2xx, `failed` those answered with 400 or above. `successRate` is in
        percent.
        """
        counts = stats.count_attempts(find(request, webhook, scope=Scope.READ))
        rate = counts.success / counts.total * 100 if counts.total else 0
        return Response({"data": {**asdict(counts), "successRate": rate}})


def find(request: Request, webhook: str, *, scope: Scope) -> Webhook:
    """Return a webhook of the caller's organization; raise a 403 without this scope, a 404 if unknown."""
    organization = authorize_webhooks(request, scope=scope)
    found = Webhook.objects.kept().select_related("organization", "repository")
    return found.get(organization=organization, uid=read_uuid(webhook))


def present_fields(body: dict[str, object], *names: str) -> dict[str, object]:
    """Return the named fields that are not null: Sigmagit treats null as absent, and ignores all other fields."""
    return {name: body[name] for name in names if body.get(name) is not None}

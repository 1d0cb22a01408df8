"""Sigmagit's six addresses, under `/api/`."""

from dataclasses import asdict
from typing import Any, ClassVar

from django.db import transaction
from django.http import Http404, HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import stats, webhooks
from deliveries.models import Webhook
from deliveries.target import MAX_LENGTH
from deliveries.terms import EVENTS_MOST
from deliveries.topics import TYPE_LONGEST
from hookhub.api.errors import invalid
from hookhub.api.filters import read_uuid
from hookhub.api.pagination import Whole
from hookhub.api.permissions import enter_webhooks
from hookhub.api.serializers import EVENT_PATTERN, URL_PATTERN
from hookhub.dialects.base import DialectView, repository_at
from hookhub.dialects.problems import Problem
from hookhub.dialects.sigmagit.chat import DISCORD, OWN, SLACK, format_for
from hookhub.dialects.sigmagit.log import SigmagitAttemptSerializer, answer_with_log
from hookhub.dialects.sigmagit.showing import (
    SigmagitErrorSerializer,
    SigmagitNewWebhookSerializer,
    SigmagitWebhookSerializer,
    shown,
    shown_as_new,
    told,
)
from hookhub.dialects.vocabulary import refuse_unknown
from hookhub.models import Scope

SLUG = "sigmagit"
TITLE = "Sigmagit"
DEFAULT_EVENTS = ["issues.opened", "pull_request.opened", "push"]


def data(name: str, inner: serializers.BaseSerializer[Any]) -> serializers.Serializer[Any]:
    """Describe an answer under Sigmagit's envelope."""
    return inline_serializer(f"Sigmagit{name}Answer", {"data": inner})


def events_to_set(**options: Any) -> serializers.ListField:
    """Describe a list of events in a request; null says nothing."""
    word = serializers.RegexField(EVENT_PATTERN, max_length=TYPE_LONGEST)
    return serializers.ListField(
        child=word, min_length=1, max_length=EVENTS_MOST, required=False, allow_null=True, **options
    )


class SigmagitView(DialectView):
    """What all of them have in common."""

    slug: ClassVar[str] = SLUG
    title: ClassVar[str] = TITLE
    error_serializer = SigmagitErrorSerializer


class RepositoryWebhooksView(SigmagitView):
    """The webhooks of one repository."""

    @staticmethod
    def tell(problem: Problem) -> Response:
        """Say what Sigmagit says, which does not tell a repository of somebody else's from none."""
        return told(problem, missing="Repository not found or unauthorized")

    @extend_schema(
        summary="List a repository's webhooks", responses=data("Webhooks", SigmagitWebhookSerializer(many=True))
    )
    def get(self, request: Request, owner: str, repo: str) -> Response:
        """List them all; of more than a thousand, the header Link leads to the rest."""
        repository = repository_at(request, owner, repo, needs=Scope.READ)
        found = Webhook.objects.kept().filter(repository=repository).select_related("repository")
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
        """Create one; Sigmagit answers 200, and shows the secret this once. For Slack and Discord there is none."""
        repository = repository_at(request, owner, repo, needs=Scope.MANAGE)
        wanted = said(self.body, "url", "events")
        wanted.setdefault("events", DEFAULT_EVENTS)
        wanted["format"] = format_for(wanted.get("url"))
        refuse_unknown(wanted, dialect=SLUG, organization=repository.organization)
        webhook, secret = webhooks.create(
            wanted, organization=repository.organization, repository=repository, now=timezone.now()
        )
        return Response({"data": shown_as_new(webhook, secret)})


class OneWebhookView(SigmagitView):
    """What is asked about one webhook."""

    @staticmethod
    def tell(problem: Problem) -> Response:
        """Say what Sigmagit says; somebody else's webhook is one that is not there."""
        return told(problem, missing="Webhook not found")


class WebhookView(OneWebhookView):
    """One webhook of the organization."""

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
        """Change URL, events or activity. A secret in the answer is a new one: another host or path has another."""
        found = find(request, webhook, needs=Scope.MANAGE)
        wanted = said(self.body, "url", "events", "active")
        active = wanted.pop("active", None)
        if active is not None and not isinstance(active, bool):
            raise invalid({"active": "must be true or false"})
        # A masked URL is the one that is there; and a format that somebody chose elsewhere is not ours to change.
        if wanted.get("url", found.shown_url) != found.shown_url and found.format in {OWN, SLACK, DISCORD}:
            wanted["format"] = format_for(wanted["url"])
        refuse_unknown(wanted, dialect=SLUG, organization=found.organization)
        changed, secret = webhooks.change(found.pk, wanted, active=active, now=timezone.now())
        return Response({"data": shown(changed, secret)})

    @extend_schema(
        summary="Delete a webhook",
        responses={200: inline_serializer("SigmagitDeleted", {"success": serializers.BooleanField()})},
    )
    def delete(self, request: Request, webhook: str) -> Response:
        """Delete it, and cancel what it is owed."""
        found = find(request, webhook, needs=Scope.MANAGE)
        with transaction.atomic():
            locked = webhooks.lock(found.pk)
            if locked is None or locked.deleted_at is not None:
                raise Http404
            webhooks.delete(locked, now=timezone.now())
        return Response({"success": True})


class WebhookDeliveriesView(OneWebhookView):
    """A webhook's log."""

    @extend_schema(
        summary="List a webhook's attempts", responses=data("Deliveries", SigmagitAttemptSerializer(many=True))
    )
    def get(self, request: Request, webhook: str) -> HttpResponseBase:
        """List the newest hundred attempts."""
        return answer_with_log(find(request, webhook, needs=Scope.READ))


class WebhookStatsView(OneWebhookView):
    """A webhook's success."""

    @extend_schema(
        summary="Count a webhook's attempts",
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
        """Count its attempts: all, those answered 2xx, those answered 400 and above, and the second in per cent."""
        tally = stats.tally_of(find(request, webhook, needs=Scope.READ))
        rate = tally.success / tally.total * 100 if tally.total else 0
        return Response({"data": {**asdict(tally), "successRate": rate}})


def find(request: Request, webhook: str, *, needs: Scope) -> Webhook:
    """Give a webhook of the caller's organization, provided it may be touched so."""
    organization = enter_webhooks(request, needs=needs)
    found = Webhook.objects.kept().select_related("organization", "repository")
    return found.get(organization=organization, uid=read_uuid(webhook))


def said(body: dict[str, object], *names: str) -> dict[str, object]:
    """Give those fields that say something: Sigmagit takes null for nothing said, and passes over all others."""
    return {name: body[name] for name in names if body.get(name) is not None}

"""The hub's view."""

from typing import cast
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from hookhub.dialects.base import repository_at
from hookhub.dialects.social_gateway.errors import ValidationFailed, invalid
from hookhub.dialects.social_gateway.hooks import notice
from hookhub.dialects.social_gateway.hub import requests, subscribing
from hookhub.dialects.social_gateway.hub.forms import MULTIPART, URLENCODED, MultipartForm, URLEncodedForm
from hookhub.dialects.social_gateway.hub.requests import Mode, Way
from hookhub.dialects.social_gateway.openapi import HUB_FORM
from hookhub.dialects.social_gateway.views import SocialGatewayView
from hookhub.models import ApiKey, Scope

NOT_SERVED = "is not supported: a subscription takes effect without verification, and has no lease"


class HubView(SocialGatewayView):
    """Subscribe a callback to a topic, or unsubscribe it."""

    parser_classes = (URLEncodedForm, MultipartForm)

    @extend_schema(
        summary="Subscribe a callback to a repository's events, or unsubscribe it",
        request={URLENCODED: HUB_FORM, MULTIPART: HUB_FORM},
        responses={204: None},
    )
    def post(self, request: Request) -> Response:
        fields = cast("dict[str, str]", self.body)
        has_key = isinstance(request.auth, ApiKey)
        if requests.way_of(fields, has_key=has_key) is Way.WEBSUB:
            raise _not_served(fields, has_key=has_key)
        wanted = requests.read(fields, accept=request.headers.get("Accept", ""), serves=is_topic_host)
        topic = wanted.topic
        repository = repository_at(request, topic.owner, topic.repo, scope=Scope.MANAGE, any_case=True)
        if wanted.mode is Mode.UNSUBSCRIBE:
            subscribing.unsubscribe(wanted, repository=repository, now=timezone.now())
            return Response(status=204)
        webhook = subscribing.subscribe(wanted, repository=repository, now=timezone.now())
        return Response(status=204, headers=notice(webhook.format))


def is_topic_host(host: str) -> bool:
    """Return whether a topic may be at this host: one of the service's own names, or one that its topics also have."""
    public = urlsplit(settings.HOOKHUB_PUBLIC_URL).hostname or ""
    return validate_host(host, [public, *settings.ALLOWED_HOSTS, *settings.HOOKHUB_TOPIC_HOSTS])


def _not_served(fields: dict[str, str], *, has_key: bool) -> Exception:
    """Return the error for a request that only WebSub's way could serve."""
    if not has_key:
        return NotAuthenticated()
    asked = [name for name in (requests.LEASE, requests.VERIFY) if name in fields]
    return ValidationFailed(*[invalid(name, NOT_SERVED) for name in asked])

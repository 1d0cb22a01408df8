"""The hub's view."""

from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpResponse
from django.http.request import validate_host
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import timezone
from deliveries.webhooks.fields import InvalidFields
from hookhub.dialects.base import DialectSchema, repository_at
from hookhub.dialects.social_gateway.hooks import notice
from hookhub.dialects.social_gateway.hub import requests, subscribing, topics, websub, websub_requests
from hookhub.dialects.social_gateway.hub.forms import MULTIPART, URLENCODED, MultipartForm, URLEncodedForm
from hookhub.dialects.social_gateway.hub.requests import TOPIC, Mode, Way
from hookhub.dialects.social_gateway.hub.websub_requests import Refused
from hookhub.dialects.social_gateway.openapi import HUB_FORM
from hookhub.dialects.social_gateway.views import SocialGatewayView
from hookhub.http.links import url_of
from hookhub.http.openapi import EARLY, extend_schema
from hookhub.http.problems import Problem, error_response, problem_of
from hookhub.models import INCLUDED, ApiKey, Scope

TEXT = "text/plain; charset=utf-8"
KEY_IS_NEEDED = "This hub takes no requests without an API key: the operator has switched anonymous subscriptions off."


class HubSchema(DialectSchema):
    """Adds to every error the text in which it is answered in WebSub's way."""

    error_prefix = "Hub"
    never = frozenset({409})

    def may_find_nothing(self) -> bool:
        """Return True: the topic may not exist."""
        return True

    def _get_request_body(self, direction: str = "request") -> dict[str, Any] | None:
        body = super()._get_request_body(direction)
        for content in (body or {"content": {}})["content"].values():
            content["schema"] = self.component_of("HubForm", HUB_FORM)
        return body

    def error_response(self, status: int) -> dict[str, Any]:
        """Return the description of an error, in both shapes unless the web server refuses a body."""
        response = super().error_response(status)
        if status not in EARLY:
            response["content"][TEXT.partition(";")[0]] = {"schema": {"type": "string"}}
        return response


class HubView(SocialGatewayView):
    """Subscribe a callback to a topic, or unsubscribe it."""

    schema = HubSchema()
    # Anybody may subscribe in WebSub's way.
    permission_classes = ()
    parser_classes = (URLEncodedForm, MultipartForm)

    @extend_schema(
        summary="Subscribe a callback to a repository's events, or unsubscribe it",
        request={URLENCODED: HUB_FORM, MULTIPART: HUB_FORM},
        responses={202: None, 204: None},
    )
    def post(self, request: Request) -> HttpResponseBase:
        fields = cast("dict[str, str]", self.body)
        prefix = get_script_prefix()
        if way_of(request, fields, prefix=prefix) is Way.WEBSUB:
            if request.auth is None and not settings.HOOKHUB_HUB_ANONYMOUS:
                raise NotAuthenticated(KEY_IS_NEEDED)
            asked = websub_requests.read(fields, serves=is_topic_host, prefix=prefix)
            websub.perform(asked, request, hub=url_of(request.path_info, request), now=timezone.now())
            return HttpResponse(status=202, content_type=TEXT)
        accept = request.headers.get("Accept", "")
        hub_request = requests.read(fields, accept=accept, serves=is_topic_host, prefix=prefix)
        topic = hub_request.topic
        repository = repository_at(request, topic.owner, topic.repo, scope=Scope.MANAGE, any_case=True)
        if hub_request.mode is Mode.UNSUBSCRIBE:
            subscribing.unsubscribe(hub_request, repository=repository, now=timezone.now())
            return Response(status=204)
        webhook = subscribing.subscribe(hub_request, repository=repository, now=timezone.now())
        return Response(status=204, headers=notice(webhook.format))

    def get_exception_handler(self) -> Callable[[Exception, Mapping[str, Any]], Any]:
        """Return a handler that renders errors as text in WebSub's way, and in GitHub's shape otherwise."""
        return self._answer

    def _answer(self, error: Exception, context: Mapping[str, Any]) -> HttpResponseBase | None:
        request: Request = context["request"]
        fields = cast("dict[str, str]", getattr(self, "body", {}))
        # Whatever has credentials, valid or not, and no field of WebSub's, may be a client of GitHub's.
        is_github = "Authorization" in request.headers and requests.way_of(fields, may_manage=True) is Way.GITHUB
        if is_github and not isinstance(error, Refused):
            return error_response(error, context, render_error=self.render_error)
        if isinstance(error, Refused):
            return as_text(400, error.lines)
        if isinstance(error, InvalidFields):
            return as_text(400, [f"hub.{FIELDS.get(name, name)} {text}" for name, text in error.errors.items()])
        problem = problem_of(error, context)
        return None if problem is None else text_of(problem)


# The hub's names of a webhook's fields.
FIELDS = {"url": "callback", "events": "topic"}


def way_of(request: Request, fields: Mapping[str, str], *, prefix: str) -> Way:
    """Return the way of a request.

    A key that may manage webhooks asks in GitHub's way, unless the topic is another organization's and public: that
    anybody may subscribe to, while for all others GitHub's errors say more.
    """
    key = request.auth
    may_manage = isinstance(key, ApiKey) and Scope.MANAGE in INCLUDED[Scope(key.scope)]
    if not may_manage:
        return requests.way_of(fields, may_manage=False)
    try:
        topic = requests.parse_topic(fields.get(TOPIC, ""), serves=is_topic_host, prefix=prefix)
    except ValueError:
        return requests.way_of(fields, may_manage=True)
    repository = topics.visible_repository(request, topic.owner, topic.repo)
    is_foreign = repository is not None and not topics.has_access(request, repository)
    return requests.way_of(fields, may_manage=not is_foreign)


def is_topic_host(host: str) -> bool:
    """Return whether a topic may be at this host: one of the service's own names, or one that its topics also have."""
    public = urlsplit(settings.HOOKHUB_PUBLIC_URL).hostname or ""
    return validate_host(host, [public, *settings.ALLOWED_HOSTS, *settings.HOOKHUB_TOPIC_HOSTS])


def text_of(problem: Problem) -> HttpResponse:
    """Return an error response as text."""
    lines = [f"{name} {text}" for name, text in problem.fields.items()] or [problem.message]
    answer = as_text(400 if problem.status == 422 else problem.status, lines)
    for name, value in problem.headers.items():
        answer.headers[name] = value
    return answer


def as_text(status: int, lines: list[str]) -> HttpResponse:
    """Return a response of lines of text."""
    return HttpResponse("".join(f"{line}\n" for line in lines), status=status, content_type=TEXT)

"""HookHub's own shapes at `/v1/webhooks`, and the base of the dialects that share this path."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries.models import Organization, Webhook
from hookhub.api.serializers.webhooks import WebhookSerializer
from hookhub.api.views import APIView
from hookhub.http.errors import shape
from hookhub.http.pagination import Cursor
from hookhub.http.problems import Problem


class Native:
    """Requests and responses at `/v1/webhooks`; Coregit and codmir override parts of this."""

    slug: ClassVar[str] = "native"

    def validate(self, fields: Mapping[str, Any], *, organization: Organization) -> None:
        """Raise a 422 for fields that the system rejects although the engine would accept them."""

    def shown(self, webhook: Webhook, secret: str | None = None) -> dict[str, Any]:
        """Return a webhook as shown, with ``secret`` if it is new."""
        row = dict(WebhookSerializer(webhook).data)
        return row if secret is None else {**row, "secret": secret}

    def created(self, webhook: Webhook, secret: str | None) -> dict[str, Any]:
        """Return a new webhook with its secret, which is shown only once."""
        return {**self.shown(webhook, secret), "url": webhook.url_when_created or None}

    def listed(self, found: "QuerySet[Webhook]", request: Request, view: APIView) -> Response:
        """Return the page of webhooks that the request asks for."""
        paginator = Cursor()
        page: Any = paginator.paginate_queryset(found, request, view) or []
        # One serializer for all: to copy the fields of another for each webhook took most of the time.
        return paginator.get_paginated_response(WebhookSerializer(page, many=True).data)

    def deleted(self) -> Response:
        """Return the response to deleting a webhook."""
        return Response(status=204)

    def render_error(self, problem: Problem) -> Response:
        """Return an error response in the system's shape."""
        return shape(problem.status, problem.code, problem.message, fields=problem.fields)


def sentence_of(problem: Problem) -> str:
    """Return an error as one line that names each invalid field."""
    return "; ".join(f"{field}: {error}" for field, error in problem.fields.items()) or problem.message

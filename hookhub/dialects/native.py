"""HookHub's own way at `/v1/webhooks`, and what a system that shares the address may say otherwise."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries.models import Organization, Webhook
from hookhub.api.errors import shape
from hookhub.api.pagination import Cursor
from hookhub.api.serializers import WebhookSerializer
from hookhub.dialects.problems import Problem


class Native:
    """What is asked and answered at `/v1/webhooks`; Coregit and codmir are this with exceptions."""

    slug: ClassVar[str] = "native"

    def check(self, wanted: Mapping[str, Any], *, organization: Organization) -> None:
        """Refuse what the system would not have though the engine might; raises a 422 naming the fields."""
        del wanted, organization

    def shown(self, webhook: Webhook, secret: str | None = None) -> dict[str, Any]:
        """Show a webhook, with its secret if that is new."""
        row = dict(WebhookSerializer(webhook).data)
        return row if secret is None else {**row, "secret": secret}

    def created(self, webhook: Webhook, secret: str | None) -> dict[str, Any]:
        """Show a new webhook and, this once, its secret."""
        return {**self.shown(webhook, secret), "url": webhook.url_when_created}

    def listed(self, found: "QuerySet[Webhook]", request: Request, view: APIView) -> Response:
        """Answer with the page of webhooks that the request asks for."""
        paginator = Cursor()
        page: Sequence[Webhook] = paginator.paginate_queryset(found, request, view) or []
        return paginator.get_paginated_response([self.shown(webhook) for webhook in page])

    def deleted(self) -> Response:
        """Answer that a webhook is gone."""
        return Response(status=204)

    def tell(self, problem: Problem) -> Response:
        """Put a refusal in the system's own shape."""
        return shape(problem.status, problem.code, problem.message, fields=problem.fields)


def sentence_of(problem: Problem) -> str:
    """Give a refusal as one line, with each field that it is about."""
    return "; ".join(f"{field}: {fault}" for field, fault in problem.fields.items()) or problem.message

"""Coregit at `/v1/webhooks`: exactly its shapes, for master keys only."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries.formats.base import stamp
from deliveries.models import Organization, Webhook
from hookhub.api.presenters.native import Native, sentence_of
from hookhub.api.views import APIView
from hookhub.http.event_type_names import validate_event_types
from hookhub.http.pagination import Whole
from hookhub.http.problems import Problem
from hookhub.http.refusals import invalid

# Coregit's API overview gives every error a message and one of these codes; errors without one keep HookHub's code.
CODES = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    429: "RATE_LIMITED",
}


class Coregit(Native):
    """The dialect of Coregit, where every key is a master key and every receiver uses TLS."""

    slug: ClassVar[str] = "coregit"

    def validate(self, fields: Mapping[str, Any], *, organization: Organization) -> None:
        """Raise a 422 for unknown event types, and for URLs without TLS except in development mode."""
        url = fields.get("url")
        # For a value that is not a string or not a URL the engine has a more specific error.
        if isinstance(url, str) and url.lower().startswith("http:") and not settings.HOOKHUB_DEVELOPMENT:
            raise invalid({"url": "must use HTTPS; HTTP is allowed in development mode only (HOOKHUB_DEVELOPMENT=1)"})
        validate_event_types(fields, dialect=self.slug, organization=organization)

    def shown(self, webhook: Webhook, secret: str | None = None) -> dict[str, Any]:
        """Return a webhook as Coregit lists it, with ``secret`` if it is new."""
        row = {
            "id": str(webhook.uid),
            "url": webhook.shown_url,
            "events": webhook.events,
            "active": webhook.active,
            "created_at": stamp(webhook.created_at),
        }
        return row if secret is None else {**row, "secret": secret}

    def created(self, webhook: Webhook, secret: str | None) -> dict[str, Any]:
        """Return a new webhook in Coregit's shape, which has a secret and no date."""
        row = {**self.shown(webhook), "url": webhook.url_when_created, "secret": secret}
        return {name: row[name] for name in ("id", "url", "events", "secret", "active")}

    def listed(self, found: "QuerySet[Webhook]", request: Request, view: APIView) -> Response:
        """Return all webhooks in one response; if there are very many, the Link header leads to the rest."""
        paginator = Whole()
        page: Sequence[Webhook] = paginator.paginate_queryset(found, request, view) or []
        return Response({"webhooks": [self.shown(webhook) for webhook in page]}, headers=paginator.links())

    def deleted(self) -> Response:
        """Return the response to deleting a webhook."""
        return Response({"deleted": True})

    def render_error(self, problem: Problem) -> Response:
        """Return an error as a message and a code; an invalid field is a 400 here."""
        status = 400 if problem.status == 422 else problem.status
        sentence = "Webhook not found" if status == 404 else sentence_of(problem)
        return Response({"error": sentence, "code": CODES.get(status) or problem.code.upper()}, status=status)

"""`/repos/:owner/:repo/hooks/:id/deliveries`: the log of a hook's attempts, and redelivery."""

from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import redelivery, timezone
from deliveries.db.lookups import find_one
from deliveries.models import Attempt, Event, Webhook
from hookhub.dialects.base import read_number
from hookhub.dialects.social_gateway import attempts_by_status, pagination, representation
from hookhub.dialects.social_gateway.delivery_ids import attempts_numbered
from hookhub.dialects.social_gateway.errors import ValidationFailed, custom, invalid
from hookhub.dialects.social_gateway.hooks import find
from hookhub.dialects.social_gateway.openapi import DeliveryRow, DeliveryShown
from hookhub.dialects.social_gateway.views import SocialGatewayView
from hookhub.http.attempts import read_payload, response_of
from hookhub.http.openapi import extend_schema
from hookhub.models import Scope

STATUSES = ("success", "failure")
CANNOT_BE_SENT = "The hook is not active, or the delivery is being sent"


class DeliveriesView(SocialGatewayView):
    """List a hook's attempts, newest first."""

    @extend_schema(
        summary="List a hook's deliveries",
        parameters=[
            OpenApiParameter("per_page", int),
            OpenApiParameter("cursor", {"type": "string", "pattern": f"^({pagination.CURSOR.pattern})?$"}),
            OpenApiParameter("status", enum=STATUSES),
        ],
        responses=DeliveryRow(many=True),
    )
    def get(self, request: Request, owner: str, repo: str, webhook: str) -> Response:
        _, found = find(request, owner, repo, webhook, scope=Scope.READ)
        size, below = pagination.per_page(request), pagination.cursor(request)
        attempts, onward = page_of(found, status=request.query_params.get("status"), below=below, size=size)
        topics = representation.topics_by_event(attempts)
        return Response(
            [
                representation.delivery(attempt, topics=topics.get(attempt.delivery.event_id, ()))
                for attempt in attempts
            ],
            headers=pagination.cursor_link(request, below=onward),
        )


class DeliveryView(SocialGatewayView):
    """Retrieve an attempt, with its request and its response."""

    @extend_schema(summary="Get a delivery", responses=DeliveryShown)
    def get(self, request: Request, owner: str, repo: str, webhook: str, delivery: str) -> Response:
        _, found = find(request, owner, repo, webhook, scope=Scope.READ)
        attempt = numbered(found, delivery)[0]
        event = find_one(Event.objects.filter(pk=attempt.delivery.event_id))
        answer = response_of(attempt) or {"headers": "", "body": ""}
        row = representation.delivery(attempt, topics=event.topics if event else ())
        return Response(
            {
                **row,
                "url": attempt.url,
                "request": {
                    "headers": headers_of(attempt.request_headers),
                    "payload": read_payload(bytes(event.payload)) if event else None,
                },
                "response": {"headers": headers_of(answer["headers"]), "payload": answer["body"]},
            }
        )


class AttemptsView(SocialGatewayView):
    """Redeliver an event, with the same guid."""

    @extend_schema(summary="Redeliver a delivery", request=None, responses={202: dict})
    def post(self, request: Request, owner: str, repo: str, webhook: str, delivery: str) -> Response:
        _, found = find(request, owner, repo, webhook, scope=Scope.MANAGE)
        # If several attempts have this number, the right one is among them, and redelivering the others does no harm.
        ids = [attempt.delivery_id for attempt in numbered(found, delivery)]
        if not redelivery.redeliver(ids, now=timezone.now()):
            raise ValidationFailed(custom(CANNOT_BE_SENT))
        return Response({}, status=202)


def page_of(
    webhook: Webhook, *, status: str | None, below: UUID | None, size: int
) -> tuple[list[Attempt], UUID | None]:
    """Return the attempts of a page, and the id below which the next page begins, or None if there is none.

    Raise a 422 for an unknown status.
    """
    newest = Attempt.objects.of_webhook(webhook.pk).select_related("delivery").defer("response_body").order_by("-id")
    if status is not None:
        if status not in STATUSES:
            raise ValidationFailed(invalid("status", f"must be one of: {', '.join(STATUSES)}"))
        found = attempts_by_status.find(webhook, succeeded=status == "success", below=below, most=size)
        return list(newest.filter(id__in=found.ids)), found.onward
    rows = list((newest if below is None else newest.filter(id__lt=below))[: size + 1])
    return rows[:size], rows[size - 1].id if len(rows) > size else None


def numbered(webhook: Webhook, text: str) -> list[Attempt]:
    """Return the attempts of a webhook that have the number in a path; raise a 404 if there is none."""
    found = attempts_numbered(webhook, read_number(text), now=timezone.now())
    if not found:
        raise Http404
    return found


def headers_of(lines: str) -> dict[str, str]:
    """Return headers by name; repeated ones are joined by commas, as in HTTP."""
    found: dict[str, str] = {}
    for line in filter(None, lines.split("\n")):
        name, _, value = line.partition(": ")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found

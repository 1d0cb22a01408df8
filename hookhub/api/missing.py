"""`/v1/webhooks/{id}/replay-missing`: deliver the events of a period that a webhook never got."""

from datetime import datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import missing, timezone
from deliveries.models import Webhook
from hookhub import replays
from hookhub.api.presenters.view import PresentedView
from hookhub.api.request_fields import fields_of, require_known_fields
from hookhub.api.serializers.deliveries import ReplaySerializer
from hookhub.api.views import GenericAPIView
from hookhub.api.webhooks import find
from hookhub.http.fields import DateTimeField
from hookhub.http.links import path_of
from hookhub.http.openapi import extend_schema
from hookhub.http.query import read_timestamp, require_known_parameters
from hookhub.http.refusals import conflict, invalid
from hookhub.models import Replay, Scope

PERIOD = ("after", "before")


class MissingCountSerializer(serializers.Serializer[Any]):
    """How many events of a period a webhook never got."""

    events = serializers.IntegerField(help_text="Before the webhook's `filter`, which may reject some of them.")
    is_at_least = serializers.BooleanField(
        help_text="Whether there may be more: the first 10,000 events of the period are examined."
    )


class NewMissingReplaySerializer(serializers.Serializer[Any]):
    after = DateTimeField(help_text="Only events accepted at or after this time.")
    before = DateTimeField(
        required=False, allow_null=True, help_text="Only events accepted before this time; now if absent or null."
    )


class ReplayMissingView(PresentedView, GenericAPIView[Replay]):
    """Count, or deliver, the events that a webhook never got, and would get by its settings now."""

    serializer_class = ReplaySerializer

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "after", OpenApiTypes.DATETIME, required=True, description="Accepted at or after this time."
            ),
            OpenApiParameter("before", OpenApiTypes.DATETIME, description="Accepted before this time; now if absent."),
        ],
        responses=MissingCountSerializer,
    )
    def get(self, request: Request, uid: str) -> Response:
        """Count the events that a webhook never got, and would get by its settings now.

        These are events from before the webhook existed, from before it subscribed to their type, or from while it was
        disabled.
        """
        webhook = find(self, request, uid, scope=Scope.READ)
        require_known_parameters(request, *PERIOD)
        now = timezone.now()
        after, before = period_of(request.query_params, now=now)
        found = missing.count(webhook, replays.span_of(after, before, now=now))
        return Response({"events": found.events, "is_at_least": found.is_at_least})

    @extend_schema(request=NewMissingReplaySerializer, responses={202: ReplaySerializer})
    def post(self, request: Request, uid: str) -> Response:
        """Deliver the events that a webhook never got, and would get by its settings now.

        Each is delivered once, however often this is asked for; deliveries that failed or were cancelled are not meant,
        but a replay sends those again. It runs in the background, in the order of the events, and beside new ones: get
        the replay to follow its progress, or cancel it. If the webhook is disabled or deleted meanwhile, it is
        cancelled. Events older than the retention period are gone.
        """
        webhook = find(self, request, uid, scope=Scope.MANAGE)
        fields, now = fields_of(request.data), timezone.now()
        require_known_fields(fields, *PERIOD)
        after, before = period_of(fields, now=now)
        if webhook.status(now=now) != Webhook.Status.ACTIVE:
            raise conflict("The webhook is not active, so nothing can be delivered to it.")
        replay = replays.start_missing(webhook, after=after, before=before, now=now)
        headers = {"Location": path_of(f"/v1/replays/{replay.pk}")}
        return Response(ReplaySerializer(replay).data, status=202, headers=headers)


def period_of(fields: Any, *, now: datetime) -> tuple[datetime, datetime]:
    """Return the bounds of a period; raise a 422 if there is none."""
    after, before = (read_timestamp(fields.get(name), name) for name in PERIOD)
    if after is None:
        raise invalid({"after": "is required, a timestamp such as 2026-03-04T12:00:00Z"})
    if before is not None and before <= after:
        raise invalid({"before": "must be later than after"})
    return after, before or now

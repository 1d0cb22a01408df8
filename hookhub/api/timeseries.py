"""Statistics over time of a webhook or an organization, under /v1/."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import timeseries, timezone
from deliveries.models import Organization, Webhook
from deliveries.timeseries import LENGTHS, Point, Step
from hookhub.api.presenters.view import PresentedView
from hookhub.api.views import GenericAPIView
from hookhub.api.webhooks import find
from hookhub.http.authorization import authorize
from hookhub.http.fields import DateTimeField
from hookhub.http.openapi import extend_schema
from hookhub.http.query import between, require_known_parameters
from hookhub.http.refusals import invalid
from hookhub.models import Scope

# The most points of one response.
MAX_POINTS = 1000
DEFAULT_PERIODS: dict[Step, timedelta] = {"hour": timedelta(days=1), "day": timedelta(days=30)}
STEP = OpenApiParameter(
    "step", OpenApiTypes.STR, enum=list(LENGTHS), default="hour", description="The length of a step, in UTC."
)
AFTER = OpenApiParameter(
    "after", OpenApiTypes.DATETIME,
    description="From the step that contains this time on. Default: a day before `before`, or 30 with steps of a day.",
)  # fmt: skip
BEFORE = OpenApiParameter(
    "before", OpenApiTypes.DATETIME, description="Steps that begin before this time. Default: now."
)


class FailuresSerializer(serializers.Serializer[Any]):
    """The attempts that did not deliver, by kind."""

    redirects = serializers.IntegerField(help_text="Responses with a status 3xx.")
    client_errors = serializers.IntegerField(help_text="Responses with a status 4xx.")
    server_errors = serializers.IntegerField(help_text="Responses with a status 5xx.")
    timeouts = serializers.IntegerField(help_text="No complete response before the deadline.")
    unreachable = serializers.IntegerField(help_text="Names that do not resolve, and connections that failed.")
    tls_errors = serializers.IntegerField(help_text="Certificates and TLS handshakes.")
    blocked = serializers.IntegerField(help_text="Addresses that this deployment does not send to.")
    other = serializers.IntegerField()


class PointSerializer(serializers.Serializer[Any]):
    at = DateTimeField(help_text="The beginning of the step.")
    attempts = serializers.IntegerField()
    delivered = serializers.IntegerField()
    failed = FailuresSerializer()
    p50_ms = serializers.FloatField(
        allow_null=True, help_text="Median time to a complete response, in milliseconds; null without responses."
    )
    p95_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)


class TimeseriesSerializer(serializers.Serializer[Any]):
    step = serializers.ChoiceField(choices=list(LENGTHS))
    counted_until = DateTimeField(
        allow_null=True,
        help_text="Attempts that ended before this time are counted; it is about a minute ago. Null before the first.",
    )
    points = PointSerializer(many=True)


class WebhookTimeseriesView(PresentedView, GenericAPIView[Webhook]):
    """Retrieve what became of a webhook's attempts in each hour or day: delivered, failed by kind, and latencies.

    Percentiles are read from a histogram and are off by a fifth at most.
    """

    serializer_class = TimeseriesSerializer

    @extend_schema(parameters=[STEP, AFTER, BEFORE])
    def get(self, request: Request, uid: str) -> Response:
        step, after, before = read_period(request, now=timezone.now())
        webhook = find(self, request, uid, scope=Scope.READ)
        return answer(timeseries.of_webhooks([webhook], after=after, before=before, step=step), step=step)


class OrganizationTimeseriesView(GenericAPIView[Organization]):
    """Retrieve what became of the attempts to all webhooks of an organization in each hour or day."""

    serializer_class = TimeseriesSerializer

    @extend_schema(parameters=[STEP, AFTER, BEFORE])
    def get(self, request: Request, slug: str) -> Response:
        step, after, before = read_period(request, now=timezone.now())
        organization = authorize(request, scope=Scope.READ, organization=slug)
        return answer(timeseries.of_organizations([organization.pk], after=after, before=before, step=step), step=step)


def read_period(request: Request, *, now: datetime) -> tuple[Step, datetime, datetime]:
    """Return the step and the bounds that the query asks for; raise a 422 that names the invalid parameter."""
    require_known_parameters(request, "step", "after", "before")
    step = request.query_params.get("step", "hour")
    if step not in LENGTHS:
        raise invalid({"step": f"must be one of: {', '.join(LENGTHS)}"})
    after, before = between(request)
    before = before or now
    after = after or max(before - DEFAULT_PERIODS[step], datetime.fromtimestamp(0, tz=before.tzinfo))
    if after >= before:
        raise invalid({"after": "must be before `before`"})
    if before - after > MAX_POINTS * LENGTHS[step]:
        raise invalid({"after": f"must be at most {MAX_POINTS} steps before `before`; or use steps of a day"})
    return step, after, before


def answer(points: list[Point], *, step: Step) -> Response:
    """Return the response with these points."""
    found = {"step": step, "counted_until": timeseries.counted_until(), "points": [asdict(point) for point in points]}
    return Response(TimeseriesSerializer(found).data)

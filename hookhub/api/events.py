"""`/v1/events`: publishing events and reading them."""

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from deliveries import timezone
from deliveries.db.ids import first_id_at
from deliveries.models import Event, Organization
from deliveries.policy.hops import HEADER as HOPS
from hookhub.api.request_fields import repository_of
from hookhub.api.serializers.events import (
    EventDetailSerializer,
    EventSerializer,
    NewEventSerializer,
    ReceiptBatchSerializer,
    ReceiptSerializer,
    ValidatedSerializer,
)
from hookhub.api.views import GenericAPIView
from hookhub.http.authorization import authorize, require_scope
from hookhub.http.openapi import extend_schema
from hookhub.http.parsers import RawParser
from hookhub.http.query import TEXT, TIME_PARAMETERS, between, read_uuid, require_known_parameters
from hookhub.http.throttling import caller_of
from hookhub.models import Scope
from hookhub.publishing import parse
from hookhub.publishing.parse import ParsedRequest
from hookhub.publishing.publish import publish
from hookhub.publishing.translate import MAX_HEADER_KEY_LENGTH, organization_named
from hookhub.publishing.validate import validate

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    # The printable characters of Latin-1, in which headers are encoded.
    {"type": "string", "pattern": "^[!-~¡-¬®-ÿ]([ -~¡-¬®-ÿ]*[!-~¡-¬®-ÿ])?$", "maxLength": MAX_HEADER_KEY_LENGTH},
    location=OpenApiParameter.HEADER,
    description="A repeated request with the same key returns the first response and publishes nothing.",
)
PUBLISHED = {
    "application/json": PolymorphicProxySerializer(
        "Published", [NewEventSerializer, NewEventSerializer(many=True)], resource_type_field_name=None, many=False
    ),
    "application/x-ndjson": {"type": "string", "description": "One event per line, as a JSON object."},
}
RECEIPTS = PolymorphicProxySerializer(
    "Receipts", [ReceiptSerializer, ReceiptBatchSerializer], resource_type_field_name=None, many=False
)


class EventsView(GenericAPIView[Event]):
    """Publish events, or list published events, newest first."""

    parser_classes = (RawParser,)
    serializer_class = NewEventSerializer

    @extend_schema(responses=EventSerializer(many=True), parameters=[
        OpenApiParameter("type", TEXT, description="Only events of this type."),
        OpenApiParameter("repository", TEXT, description="Only this repository's events."),
        *TIME_PARAMETERS,
    ])  # fmt: skip
    def get(self, request: Request) -> Response:
        """List published events, newest first, without their data."""
        organization = authorize(request, scope=Scope.READ)
        found = filtered(request, organization).select_related("organization", "repository")
        return self.listed(found, EventSerializer)

    @extend_schema(
        request=PUBLISHED,
        parameters=[IDEMPOTENCY_KEY],
        responses={202: RECEIPTS},
    )
    def post(self, request: Request) -> Response:
        """Publish one event, a JSON array of events, or NDJSON (`Content-Type: application/x-ndjson`), up to 1,000.

        Either all events of a request are accepted or none. A 202 means that the events are stored: they will be
        delivered even if processes of HookHub crash.

        To retry safely, send an `id` with each event, or an `Idempotency-Key` header. Repeating a request with the same
        key returns the first response and publishes nothing; using the key again with different content returns 409.
        """
        parsed, content, organization = read_events(request)
        body, headers = publish(
            parsed,
            organization=organization,
            header=request.headers.get("Idempotency-Key"),
            content=content,
            hops=request.headers.get(HOPS),
            trace=parse.trace_of(request.META),
            caller=caller_of(request) or "",
            now=timezone.now(),
        )
        return Response(body, status=202, headers=headers)

    def get_throttles(self) -> list[BaseThrottle]:
        """Return no throttle for POST, which is limited by events; all other methods are limited by requests."""
        return [] if self.request.method == "POST" else super().get_throttles()


class ValidateView(GenericAPIView[Event]):
    """Validate events without publishing them.

    Takes the same body and the same API keys as `POST /v1/events`, and returns the same errors, except for an
    idempotency key that was used before. Repositories that publishing would create count as existing.
    """

    parser_classes = (RawParser,)
    serializer_class = NewEventSerializer

    @extend_schema(
        request=PUBLISHED,
        parameters=[IDEMPOTENCY_KEY],
        responses={200: ValidatedSerializer},
    )
    def post(self, request: Request) -> Response:
        parsed, content, organization = read_events(request)
        header = request.headers.get("Idempotency-Key")
        validate(parsed, organization=organization, header=header, content=content, now=timezone.now())
        return Response({"valid": True, "organization": organization.slug, "events": len(parsed.events)})


class EventView(GenericAPIView[Event]):
    """Retrieve an event, with its data and its deliveries."""

    serializer_class = EventDetailSerializer

    def get(self, request: Request, uid: str) -> Response:
        organization = authorize(request, scope=Scope.READ)
        event = get_object_or_404(
            Event.objects.select_related("organization", "repository"), organization=organization, id=read_uuid(uid)
        )
        return Response(EventDetailSerializer(event).data)


def read_events(request: Request) -> tuple[ParsedRequest, bytes, Organization]:
    """Return the events in a request's body, the body itself, and the organization to publish them in."""
    require_scope(request, Scope.PUBLISH)
    # The framework turns an empty body into an empty form, without calling a parser.
    read: object = request.data
    content = read if isinstance(read, bytes) else b""
    parsed = parse.read_once(request.META, content, request.content_type or "")
    return parsed, content, authorize(request, scope=Scope.PUBLISH, organization=organization_named(parsed))


def filtered(request: Request, organization: Organization) -> QuerySet[Event]:
    """Return the organization's events that match the query parameters; raise a 422 for invalid ones."""
    require_known_parameters(request, "type", "repository", "after", "before")
    events = Event.objects.filter(organization=organization).defer("payload", "topics", "fingerprint")
    if event_type := request.query_params.get("type"):
        events = events.filter(type=event_type)
    if name := request.query_params.get("repository"):
        events = events.filter(repository=repository_of(organization, name))
    after, before = between(request)
    if after:
        events = events.filter(id__gte=first_id_at(after))
    if before:
        events = events.filter(id__lt=first_id_at(before))
    return events

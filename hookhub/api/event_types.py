"""`/v1/event-types`: the types that the systems document, and the organization's custom ones."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import timezone
from deliveries.event_types import catalogue
from deliveries.event_types.catalogue import EventType
from deliveries.models import Organization
from deliveries.systems import DEFAULT, SYSTEMS
from hookhub.api.request_fields import fields_of
from hookhub.api.serializers.event_types import EventTypeListSerializer, EventTypeSerializer, NewEventTypeSerializer
from hookhub.api.views import GenericAPIView
from hookhub.event_types import registry
from hookhub.http.authorization import authorize
from hookhub.http.links import path_of
from hookhub.http.openapi import extend_schema
from hookhub.http.query import require_known_parameters
from hookhub.http.refusals import conflict, invalid
from hookhub.models import ApiKey, CustomEventType, Scope

DIALECT = OpenApiParameter(
    "dialect",
    enum=list(SYSTEMS),
    description="The dialect whose event types to return; by default, the organization's.",
)


class EventTypesView(GenericAPIView[CustomEventType]):
    """List event types, or register a custom one. Each has a JSON Schema and an example."""

    permission_classes = (AllowAny,)
    serializer_class = EventTypeSerializer

    @extend_schema(parameters=[DIALECT], responses={200: EventTypeListSerializer}, operation_id="event_types_list")
    def get(self, request: Request) -> Response:
        """List event types with JSON Schemas and examples: custom ones first, then those that a dialect documents.

        Without an API key, the list has HookHub's types, or those of `dialect`. Types that are not listed can be
        published and subscribed to as well.
        """
        require_known_parameters(request, "dialect")
        organization = organization_of_caller(request)
        dialect = request.query_params.get("dialect") or (organization.default_dialect if organization else DEFAULT)
        if dialect not in SYSTEMS:
            raise invalid({"dialect": f"must be one of: {', '.join(SYSTEMS)}"})
        custom = registry.custom(organization).types if organization else {}
        rows = [shown(each, None) for each in custom.values()]
        documented = catalogue.of(dialect).types
        rows += [shown(each, dialect) for name, each in documented.items() if name not in custom]
        return Response({"results": rows})

    @extend_schema(request=NewEventTypeSerializer, responses={201: EventTypeSerializer})
    def post(self, request: Request) -> Response:
        """Register a custom event type. It replaces the documented type of the same name, if there is one."""
        require_caller(request)
        fields = fields_of(request.data)
        organization = authorize(request, scope=Scope.MANAGE, organization=fields.pop("organization", None))
        try:
            row = registry.register(fields, organization=organization, now=timezone.now())
        except registry.AlreadyRegistered as error:
            message = "already exists; change it with PATCH"
            raise conflict("This event type already exists.", fields={"type": message}) from error
        headers = {"Location": path_of(f"/v1/event-types/{row.type}")}
        return Response(shown(registry.as_event_type(row), None), status=201, headers=headers)


class EventTypeView(GenericAPIView[CustomEventType]):
    """Retrieve, change or delete an event type. Only custom event types can be changed or deleted."""

    permission_classes = (AllowAny,)
    serializer_class = EventTypeSerializer

    @extend_schema(parameters=[DIALECT])
    def get(self, request: Request, name: str) -> Response:
        """Get an event type: the organization's custom one, or the one that a dialect documents."""
        require_known_parameters(request, "dialect")
        organization = organization_of_caller(request)
        named = request.query_params.get("dialect")
        if organization and named is None and (custom := registry.custom(organization).types.get(name)):
            return Response(shown(custom, None))
        dialect = named or (organization.default_dialect if organization else DEFAULT)
        found = catalogue.of(dialect).types.get(name) if dialect in SYSTEMS else None
        if found is None:
            raise Http404
        return Response(shown(found, dialect))

    def patch(self, request: Request, name: str) -> Response:
        """Change the fields of a custom event type that the request names."""
        row = self.find(request, name)
        changed = registry.change(row, fields_of(request.data), now=timezone.now())
        return Response(shown(registry.as_event_type(changed), None))

    def delete(self, request: Request, name: str) -> Response:
        """Delete a custom event type. A documented type of the same name applies again."""
        registry.delete(self.find(request, name), now=timezone.now())
        return Response(status=204)

    def find(self, request: Request, name: str) -> CustomEventType:
        """Return a custom event type of the organization; raise a 403, 404 or 409 unless the caller may change it."""
        require_caller(request)
        organization = authorize(request, scope=Scope.MANAGE)
        row = CustomEventType.objects.filter(organization=organization, type=name).first()
        if row is None:
            if name in catalogue.of(organization.default_dialect).types:
                raise conflict(
                    "This event type is defined by the dialect; register a custom event type of the same name instead."
                )
            raise Http404
        return row


def organization_of_caller(request: Request) -> Organization | None:
    """Return the organization whose types the caller may see, or None for an unauthenticated caller."""
    if not is_known(request):
        return None
    # A key that may only publish needs to know what its events must look like, so it may read the types too.
    is_publisher = isinstance(request.auth, ApiKey) and request.auth.scope == Scope.PUBLISH
    return authorize(request, scope=Scope.PUBLISH if is_publisher else Scope.READ)


def is_known(request: Request) -> bool:
    """Return whether the caller has a key or is logged in."""
    return bool(request.user and request.user.is_authenticated)


def require_caller(request: Request) -> None:
    """Raise a 401 for an unauthenticated caller."""
    if not is_known(request):
        raise NotAuthenticated


def shown(each: EventType, dialect: str | None) -> dict[str, Any]:
    """Return an event type as the API shows it; ``dialect`` is the one that documents it, None for a custom type."""
    return {
        "type": each.type,
        "family": each.family,
        "dialect": dialect,
        "description": each.description,
        "actions": list(each.actions),
        "schema": each.schema,
        "example": each.example,
    }

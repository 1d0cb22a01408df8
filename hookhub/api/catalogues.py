"""`/v1/asyncapi.json`, `/v1/schemas.json`, `/v1/event-types/{name}/schema`: the event types for other tools."""

import json
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.http import Http404, HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from deliveries.event_types import catalogue
from deliveries.event_types.catalogue import EventType
from deliveries.formats import FORMATS
from deliveries.models import Organization
from deliveries.systems import DEFAULT, SYSTEMS
from hookhub.api.event_types import DIALECT, organization_of_caller
from hookhub.api.views import APIView
from hookhub.descriptions import asyncapi, json_schemas
from hookhub.event_types import registry
from hookhub.http.links import path_of
from hookhub.http.negotiation import OneFormat
from hookhub.http.openapi import extend_schema
from hookhub.http.query import require_known_parameters
from hookhub.http.refusals import invalid

TAGS = ["event-types"]
FILE: dict[str, Any] = {"type": "object", "additionalProperties": True}
WIRE_FORMAT = OpenApiParameter(
    "wire_format",
    enum=list(FORMATS),
    description="The wire format to describe; by default, that of the organization's new webhooks.",
)


class CatalogueView(APIView):
    """The base of views that export event types, of an organization or of a dialect, as a file."""

    permission_classes = (AllowAny,)
    renderer_classes = (JSONRenderer,)
    # Tools that load a schema ask for media types of all kinds.
    content_negotiation_class = OneFormat


class AsyncApiView(CatalogueView):
    """Export the event types as an AsyncAPI 3 document: the messages that receivers get, with examples.

    With a key, these are the organization's types, its custom ones and those of its default dialect. Without one, or
    with `dialect`, those that a dialect documents.
    """

    @extend_schema(
        operation_id="asyncapi_retrieve",
        tags=TAGS,
        parameters=[DIALECT, WIRE_FORMAT],
        responses={200: OpenApiResponse(FILE, description="The AsyncAPI document.")},
    )
    def get(self, request: Request) -> HttpResponse:
        require_known_parameters(request, "dialect", "wire_format")
        organization, dialect = source_of(request)
        usual = organization.wire_format if organization else SYSTEMS[dialect].wire_format
        wire_format = request.query_params.get("wire_format", usual)
        if wire_format not in FORMATS:
            raise invalid({"wire_format": f"must be one of: {', '.join(FORMATS)}"})
        if organization is None:
            return HttpResponse(asyncapi.of_dialect(dialect, wire_format), content_type="application/json")
        title = f"Events of {organization.name or organization.slug}"
        types = types_of(organization, dialect)
        found = asyncapi.document(types, wire_format=FORMATS[wire_format], title=title)
        return HttpResponse(json.dumps(found), content_type="application/json")


class SchemasView(CatalogueView):
    """Export the JSON Schemas of all event types' data in one file, each under `$defs` by its type's name.

    With a key, these are the organization's types, its custom ones and those of its default dialect. Without one, or
    with `dialect`, those that a dialect documents.
    """

    @extend_schema(
        operation_id="schemas_retrieve",
        tags=TAGS,
        parameters=[DIALECT],
        responses={(200, json_schemas.MEDIA_TYPE): OpenApiResponse(FILE, description="The JSON Schema.")},
    )
    def get(self, request: Request) -> HttpResponse:
        require_known_parameters(request, "dialect")
        organization, dialect = source_of(request)
        address = address_of("/v1/schemas.json", organization, dialect)
        bundle = json_schemas.bundle_of(types_of(organization, dialect), address=address)
        return HttpResponse(json.dumps(bundle), content_type=json_schemas.MEDIA_TYPE)


class EventTypeSchemaView(CatalogueView):
    """Export the JSON Schema of an event type's data, for validators and code generators."""

    @extend_schema(
        operation_id="event_types_schema_retrieve",
        parameters=[DIALECT],
        responses={(200, json_schemas.MEDIA_TYPE): OpenApiResponse(FILE, description="The JSON Schema.")},
    )
    def get(self, request: Request, name: str) -> HttpResponse:
        require_known_parameters(request, "dialect")
        organization, dialect = source_of(request)
        found = next((each for each in types_of(organization, dialect) if each.type == name), None)
        if found is None:
            raise Http404
        address = address_of(f"/v1/event-types/{name}/schema", organization, dialect)
        content = json.dumps(json_schemas.schema_of(found, address=address))
        return HttpResponse(content, content_type=json_schemas.MEDIA_TYPE)


def source_of(request: Request) -> tuple[Organization | None, str]:
    """Return the organization and the dialect whose types are exported; None where a dialect alone is asked for."""
    organization = organization_of_caller(request)
    named = request.query_params.get("dialect")
    if named is not None and named not in SYSTEMS:
        raise invalid({"dialect": f"must be one of: {', '.join(SYSTEMS)}"})
    if named is not None or organization is None:
        return None, named or DEFAULT
    return organization, organization.default_dialect


def types_of(organization: Organization | None, dialect: str) -> Iterable[EventType]:
    """Return the types of the organization, or without one those that the dialect documents."""
    return (registry.types_of(organization) if organization else catalogue.of(dialect).types).values()


def address_of(path: str, organization: Organization | None, dialect: str) -> str:
    """Return the address of a schema, as its id."""
    query = "" if organization else f"?dialect={dialect}"
    return f"{settings.HOOKHUB_PUBLIC_URL or path_of('')}{path}{query}"

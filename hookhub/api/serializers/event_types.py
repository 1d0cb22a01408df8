"""How the API represents event types."""

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from deliveries import plain_text
from hookhub.api.serializers.fields import NAMED_BY_OPERATORS, EventTypeName
from hookhub.event_types import registry


@extend_schema_field({"type": "string", "maxLength": registry.MAX_DESCRIPTION_LENGTH, "pattern": plain_text.PATTERN})
class DescriptionField(serializers.CharField):
    """One line of text for people."""


@extend_schema_field({"type": "object", "nullable": True, "additionalProperties": {}})
class SchemaField(serializers.JSONField):
    """A JSON Schema."""


class EventTypeSerializer(serializers.Serializer[Any]):
    """An event type with its JSON Schema and an example."""

    type = EventTypeName(help_text="Words joined by dots, such as issues.opened.")
    family = serializers.CharField(
        read_only=True, help_text="Family of the event type; subscribing to it includes all of its types."
    )
    dialect = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="System that documents the event type; null for a custom type.",
    )
    description = DescriptionField(required=False, allow_blank=True)
    actions = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Possible values of `action` in the data."
    )
    schema = SchemaField(required=False, allow_null=True, help_text="JSON Schema 2020-12, without regular expressions.")
    example = serializers.JSONField(required=False, allow_null=True, help_text="Data of a test event.")


@extend_schema_serializer(component_name="EventType")
class NewEventTypeSerializer(EventTypeSerializer):
    """An event type with its JSON Schema and an example."""

    organization = serializers.CharField(required=False, allow_null=True, help_text=NAMED_BY_OPERATORS)


class EventTypeListSerializer(serializers.Serializer[Any]):
    """Event types, with the organization's custom ones first."""

    results = EventTypeSerializer(many=True)

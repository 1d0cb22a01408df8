"""Fields that several serializers share; the strict ones accept only the documented type."""

from typing import Any, ClassVar, TypeVar

from django.db import models
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deliveries import plain_text
from deliveries.event_types.topics import MAX_TYPE_LENGTH, TYPE
from hookhub.http.fields import ModelSerializer

Row = TypeVar("Row", bound=models.Model)

NAMED_BY_OPERATORS = (
    "Slug of the organization. Required only with an operator's key, or if you belong to several organizations."
)


class StrictBooleanField(serializers.BooleanField):
    """Accepts only true and false, as documented; the framework's field would parse "no", "f" and 0 as false."""

    def to_internal_value(self, data: Any) -> bool:
        """Return the boolean; raise the framework's validation error for any other value."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictCharField(serializers.CharField):
    """Accepts only strings, as documented; the framework's field would convert numbers."""

    def to_internal_value(self, data: Any) -> str:
        """Return the string; raise the framework's validation error for any other value."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictIntegerField(serializers.IntegerField):
    """Accepts only integers, as documented; the framework's field would parse them from strings."""

    def to_internal_value(self, data: Any) -> int:
        """Return the integer; raise the framework's validation error for any other value."""
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictModelSerializer(ModelSerializer[Row]):
    """Uses ``StrictCharField`` for a model's text columns."""

    serializer_field_mapping: ClassVar = {
        **ModelSerializer.serializer_field_mapping,
        models.CharField: StrictCharField,
    }


@extend_schema_field({"type": "string", "maxLength": 200, "pattern": plain_text.PATTERN})
class OneLineField(StrictCharField):
    """A display name of one line."""


@extend_schema_field(OpenApiTypes.DOUBLE)
class Seconds(serializers.Field[Any, Any, Any, Any]):
    """A duration as a number of seconds."""

    def to_representation(self, value: Any) -> float:
        return float(value.total_seconds())

    def to_internal_value(self, data: Any) -> Any:
        return data


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": MAX_TYPE_LENGTH, "pattern": f"^{TYPE.pattern}$"})
class EventTypeName(serializers.CharField):
    """The name of an event type: words joined by dots."""

"""Serializer fields whose output does not depend on the project's formats and time zone."""

from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from django.db import models
from rest_framework import ISO_8601, serializers

Row = TypeVar("Row", bound=models.Model)


class DateTimeField(serializers.DateTimeField):
    """A time in UTC, in ISO 8601; what is read has a time zone, too."""

    timezone = UTC
    format = ISO_8601
    input_formats = (ISO_8601,)

    def to_internal_value(self, value: Any) -> datetime:
        """Return a time; T and Z may be in lower case, as RFC 3339 allows. Raise ValidationError."""
        moment: datetime = super().to_internal_value(value.upper() if isinstance(value, str) else value)
        return moment


class ModelSerializer(serializers.ModelSerializer[Row]):
    """Writes a model's times in UTC."""

    serializer_field_mapping: ClassVar = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: DateTimeField,
    }

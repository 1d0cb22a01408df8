"""Serializer fields whose output does not depend on the project's formats and time zone."""

from datetime import UTC
from typing import ClassVar, TypeVar

from django.db import models
from rest_framework import ISO_8601, serializers

Row = TypeVar("Row", bound=models.Model)


class DateTimeField(serializers.DateTimeField):
    """A time in UTC, in ISO 8601; what is read has a time zone, too."""

    timezone = UTC
    format = ISO_8601
    input_formats = (ISO_8601,)


class ModelSerializer(serializers.ModelSerializer[Row]):
    """Writes a model's times in UTC."""

    serializer_field_mapping: ClassVar = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: DateTimeField,
    }

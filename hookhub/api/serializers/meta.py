"""How the API represents the deployment."""

from typing import Any

from rest_framework import serializers


class MetaSerializer(serializers.Serializer[Any]):
    """The version and the configuration of this deployment."""

    version = serializers.CharField()
    dialects = serializers.ListField(child=serializers.CharField())
    formats = serializers.ListField(child=serializers.CharField())
    default_format = serializers.CharField()
    retry_schedule = serializers.ListField(
        child=serializers.FloatField(), help_text="Seconds to wait before each retry."
    )
    timeout = serializers.FloatField(help_text="Maximum duration of one attempt, in seconds.")
    max_in_flight = serializers.IntegerField()
    payload_limit = serializers.IntegerField(help_text="Maximum size of one event's data, in bytes.")
    retention_days = serializers.IntegerField()
    source_addresses = serializers.ListField(child=serializers.CharField())

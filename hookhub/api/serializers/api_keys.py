"""How the API represents API keys."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deliveries import plain_text, timezone
from hookhub import api_keys
from hookhub.api.serializers.fields import OneLineField, StrictIntegerField
from hookhub.http import networks
from hookhub.http.fields import DateTimeField, ModelSerializer
from hookhub.models import ApiKey, Scope


@extend_schema_field(
    {
        "type": "array",
        # A pattern cannot express which of these are an address or a network.
        "items": {"type": "string", "pattern": r"^\s*([0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(/[0-9.]+)?\s*$"},
        "maxItems": networks.MAX_NETWORKS,
    }
)
class Networks(serializers.Field[Any, Any, Any, Any]):
    """A list of IP addresses and networks."""

    def to_representation(self, value: Any) -> list[str]:
        return list(value)

    def to_internal_value(self, data: Any) -> list[str]:
        try:
            return networks.normalized(data)
        except networks.InvalidNetworks as error:
            raise serializers.ValidationError(str(error)) from error


class ApiKeySerializer(ModelSerializer[ApiKey]):
    """An API key, without the text of the key itself."""

    id = serializers.CharField(source="key_id", read_only=True)
    name = OneLineField(required=False, allow_blank=True, max_length=200, validators=[plain_text.validate])
    scope = serializers.ChoiceField(
        Scope.choices,
        required=True,
        help_text="What the key permits. manage includes publish and read; master includes all.",
    )
    expires_at = DateTimeField(required=False, allow_null=True, help_text="When the key expires; null for never.")
    allowed_networks = Networks(
        required=False, help_text="IP addresses and networks that may use the key; empty for any."
    )

    class Meta:
        model = ApiKey
        fields = (
            "id", "name", "scope", "expires_at", "allowed_networks", "created_at", "rolled_at",
            "previous_secret_expires_at", "last_used_at", "revoked_at",
        )  # fmt: skip
        read_only_fields = ("created_at", "rolled_at", "previous_secret_expires_at", "last_used_at", "revoked_at")

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        """Raise a validation error for an expiry in the past."""
        if error := api_keys.expiry_error(value, now=timezone.now()):
            raise serializers.ValidationError(error)
        return value


class ApiKeyChangesSerializer(ApiKeySerializer):
    """Changes to an API key. Its scope cannot be changed."""

    class Meta(ApiKeySerializer.Meta):
        read_only_fields = (*ApiKeySerializer.Meta.read_only_fields, "scope")  # type: ignore[assignment]  # one more

    scope = serializers.ChoiceField(Scope.choices, read_only=True)


class RollSerializer(serializers.Serializer[Any]):
    """The options of rolling an API key."""

    overlap_seconds = StrictIntegerField(
        required=False,
        min_value=0,
        max_value=int(api_keys.MAX_OVERLAP.total_seconds()),
        help_text="Seconds for which the old secret stays valid; HOOKHUB_SECRET_OVERLAP by default.",
    )
    expires_at = DateTimeField(required=False, help_text="New expiry; unchanged by default.")

    def validate_expires_at(self, value: datetime) -> datetime:
        """Raise a validation error for an expiry in the past."""
        if error := api_keys.expiry_error(value, now=timezone.now()):
            raise serializers.ValidationError(error)
        return value


class ApiKeyWithTextSerializer(ApiKeySerializer):
    """An API key with the text of the key itself, which is shown only once."""

    key = serializers.CharField(read_only=True)

    class Meta(ApiKeySerializer.Meta):
        fields = (*ApiKeySerializer.Meta.fields, "key")  # type: ignore[assignment]  # one more

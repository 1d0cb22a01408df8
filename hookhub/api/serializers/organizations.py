"""How the API represents organizations and repositories."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from deliveries import plain_text
from deliveries.limits import LIMITS, MAX_LIMIT
from deliveries.limits import validate as validate_limits
from deliveries.models import NAME, Organization, Repository
from hookhub.api.serializers.fields import NAMED_BY_OPERATORS, OneLineField, StrictBooleanField, StrictModelSerializer


@extend_schema_field(
    {
        "type": "object",
        "nullable": True,
        "properties": {name: {"type": "integer", "minimum": 0, "maximum": MAX_LIMIT} for name in LIMITS},
        "additionalProperties": False,
    }
)
class LimitsField(serializers.JSONField):
    """The limits of one organization, by name."""


class OrganizationSerializer(StrictModelSerializer[Organization]):
    """A tenant: it has repositories, webhooks, members and API keys of its own."""

    name = OneLineField(required=False, allow_blank=True, max_length=200, validators=[plain_text.validate])
    validate_events = StrictBooleanField(
        required=False, help_text="Reject events whose data violates the schema of their type."
    )
    create_repositories = StrictBooleanField(
        required=False, help_text="Create a repository when an event first names it."
    )
    verify_webhooks = StrictBooleanField(
        required=False,
        help_text="Have the URLs of new webhooks, and new URLs, echo a challenge before anything is sent to them.",
    )

    limits = LimitsField(
        required=False,
        allow_null=True,
        validators=[validate_limits],
        help_text="Limits of this organization, set by the operator; null for the deployment's limits.",
    )

    class Meta:
        model = Organization
        fields = (
            "slug",
            "name",
            "default_dialect",
            "default_format",
            "validate_events",
            "create_repositories",
            "verify_webhooks",
            "limits",
            "created_at",
        )
        read_only_fields = ("created_at",)
        extra_kwargs: ClassVar = {
            # Without a uniqueness validator, because a taken slug is a 409 and not an invalid field.
            "slug": {"validators": [NAME, plain_text.validate]},
            "default_dialect": {"help_text": "System whose event types and API the organization uses."},
            "default_format": {
                "allow_blank": False,
                "help_text": "Default wire format; null for the default dialect's.",
            },
        }


class RepositorySerializer(StrictModelSerializer[Repository]):
    """What most events are about."""

    full_name = serializers.CharField(read_only=True)
    private = StrictBooleanField(
        required=False, help_text="Whether the repository is private, as GitHub-compatible responses show it."
    )

    class Meta:
        model = Repository
        fields = ("name", "full_name", "private", "created_at")
        read_only_fields = ("created_at",)


@extend_schema_serializer(component_name="Repository")
class NewRepositorySerializer(RepositorySerializer):
    """A repository to create."""

    organization = serializers.CharField(required=False, allow_null=True, help_text=NAMED_BY_OPERATORS)

    class Meta(RepositorySerializer.Meta):
        fields = (*RepositorySerializer.Meta.fields, "organization")  # type: ignore[assignment]  # one more

"""How the API represents organizations, repositories, API keys, webhooks, events, deliveries and replays."""

from datetime import datetime
from typing import Any, ClassVar, TypeVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from deliveries import formats, plain_text, vault
from deliveries.event_types.topics import MAX_TYPE_LENGTH, TYPE
from deliveries.formats import MASK
from deliveries.limits import LIMITS, MAX_LIMIT
from deliveries.limits import validate as validate_limits
from deliveries.models import NAME, Attempt, Delivery, Event, Organization, Repository, Webhook
from deliveries.sending import url as target
from deliveries.webhooks.fields import (
    HEADER_VALUE,
    MAX_EVENTS,
    MAX_HEADER_LENGTH,
    MAX_IN_FLIGHT,
    MAX_RETRIES,
    MAX_RETRY_WAIT,
)
from hookhub import api_keys
from hookhub.event_types import registry
from hookhub.http import networks
from hookhub.http.attempts import read_payload, response_of
from hookhub.http.patterns import EVENT_PATTERN, NAME_PATTERN, URL_PATTERN, WITHOUT_CONTROL_CHARACTERS
from hookhub.models import ApiKey, Replay, Scope

Row = TypeVar("Row", bound=models.Model)

NAMED_BY_OPERATORS = (
    "Slug of the organization. Required only with an operator's key, or if you belong to several organizations."
)
MASKED_URL = (
    "Returned with the values of its query masked, or fully masked in formats whose URL is a secret, such as slack."
)
# Maximum number of single deliveries in one replay.
MAX_IDS = 1000


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


class StrictModelSerializer(serializers.ModelSerializer[Row]):
    """Uses ``StrictCharField`` for a model's text columns."""

    serializer_field_mapping: ClassVar = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.CharField: StrictCharField,
    }


@extend_schema_field({"type": "string", "maxLength": 200, "pattern": plain_text.PATTERN})
class OneLineField(StrictCharField):
    """A display name of one line."""


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
    name = OneLineField(required=False, allow_blank=True, max_length=200, validators=[plain_text.validate])
    validate_events = StrictBooleanField(
        required=False, help_text="Reject events whose data violates the schema of their type."
    )
    create_repositories = StrictBooleanField(
        required=False, help_text="Create a repository when an event first names it."
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


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    id = serializers.CharField(source="key_id", read_only=True)
    name = OneLineField(required=False, allow_blank=True, max_length=200, validators=[plain_text.validate])
    scope = serializers.ChoiceField(
        Scope.choices,
        required=True,
        help_text="What the key permits. manage includes publish and read; master includes all.",
    )
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="When the key expires; null for never."
    )
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
    expires_at = serializers.DateTimeField(required=False, help_text="New expiry; unchanged by default.")

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


@extend_schema_field(OpenApiTypes.DOUBLE)
class Seconds(serializers.Field[Any, Any, Any, Any]):
    """A duration as a number of seconds."""

    def to_representation(self, value: Any) -> float:
        return float(value.total_seconds())

    def to_internal_value(self, data: Any) -> Any:
        return data


@extend_schema_field({"type": "number", "format": "double", "minimum": 1, "maximum": MAX_RETRY_WAIT.total_seconds()})
class RetryWait(Seconds):
    """Seconds to wait before a retry."""


@extend_schema_field(
    {"type": "number", "format": "double", "minimum": 1, "maximum": settings.HOOKHUB_MAX_TIMEOUT.total_seconds()}
)
class Timeout(Seconds):
    """Seconds that an attempt may take."""


class WebhookHeaders(serializers.DictField):
    """A webhook's custom headers by name, with each value masked."""

    child = serializers.RegexField(f"^{HEADER_VALUE.pattern}$", max_length=MAX_HEADER_LENGTH)

    def to_representation(self, value: Any) -> dict[str, str]:
        return dict.fromkeys(vault.headers_to_show(value), MASK)


class WebhookSerializer(serializers.Serializer[Webhook]):
    """A subscription of a URL to event types."""

    id = serializers.UUIDField(source="uid", read_only=True)
    organization = serializers.CharField(source="organization.slug", read_only=True)
    repository = serializers.CharField(
        source="repository.name", allow_null=True, required=False, default=None,
        help_text="Receive only this repository's events; null for all events of the organization.",
    )  # fmt: skip
    name = OneLineField(required=False, allow_blank=True, max_length=200, help_text="Display name.")
    url = serializers.CharField(
        source="shown_url",
        max_length=target.MAX_LENGTH,
        help_text=MASKED_URL,
    )
    events = serializers.ListField(
        child=serializers.RegexField(EVENT_PATTERN, max_length=MAX_TYPE_LENGTH),
        min_length=1, max_length=MAX_EVENTS,
        help_text='Event types or families to subscribe to, or ["*"] for all.',
    )  # fmt: skip
    format = serializers.ChoiceField(
        formats.choices(), required=False, help_text="Wire format; the organization's default if absent."
    )
    content_type = serializers.ChoiceField(
        ["json", "form"], required=False, help_text="Encoding of the body: JSON, or a form with the JSON in one field."
    )
    secret = serializers.CharField(
        write_only=True, required=False, allow_blank=True,
        help_text="Signing secret; generated if absent, empty for none if the format allows it. ******** keeps it.",
    )  # fmt: skip
    headers = WebhookHeaders(
        source="*", required=False,
        help_text="Custom headers by name. Values are returned as ********; sending that back keeps the stored value. "
        "Omitted headers are removed.",
    )  # fmt: skip
    verify_ssl = serializers.BooleanField(required=False, help_text="Whether to verify the receiver's TLS certificate.")
    retry_schedule = serializers.ListField(
        child=RetryWait(), allow_null=True, required=False, max_length=MAX_RETRIES,
        help_text="Seconds to wait before each retry; [] for no retries, null for the deployment's schedule.",
    )  # fmt: skip
    timeout = Timeout(allow_null=True, required=False, help_text="Maximum duration of one attempt, in seconds.")
    max_in_flight = serializers.IntegerField(
        allow_null=True, required=False, min_value=1, max_value=MAX_IN_FLIGHT,
        help_text="Maximum number of concurrent requests; null for the deployment's limit.",
    )  # fmt: skip
    auto_disable = serializers.BooleanField(
        required=False, help_text="Whether to disable the webhook automatically when its deliveries keep failing."
    )
    active = serializers.BooleanField(required=False, help_text="Whether the webhook is enabled.")
    disabled_at = serializers.DateTimeField(read_only=True, allow_null=True)
    # No enumeration: Java clients made by openapi-generator fail on a nullable one.
    disabled_reason = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text=f"One of {', '.join(Webhook.DisabledReason.values)}; null if the webhook is enabled.",
    )
    failure_count = serializers.IntegerField(
        read_only=True, help_text="Number of failed attempts since the last success."
    )
    resting_until = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="Until when the webhook gets no requests, because of a backoff."
    )
    last_delivery_at = serializers.DateTimeField(read_only=True, allow_null=True)
    last_delivery_status = serializers.CharField(
        read_only=True, allow_null=True, help_text="HTTP status of the last attempt, or why there was no response."
    )
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(source="changed_at", read_only=True)


@extend_schema_serializer(component_name="Webhook")
class NewWebhookSerializer(WebhookSerializer):
    """A subscription of a URL to event types."""

    organization = serializers.CharField(required=False, allow_null=True, help_text=NAMED_BY_OPERATORS)
    url = serializers.RegexField(URL_PATTERN, max_length=target.MAX_LENGTH, help_text=MASKED_URL)


@extend_schema_serializer(component_name="Webhook")
class WebhookChangesSerializer(WebhookSerializer):
    """Changes to a webhook."""

    repository = serializers.CharField(read_only=True, allow_null=True)
    url = serializers.RegexField(
        URL_PATTERN,
        max_length=target.MAX_LENGTH,
        help_text="The masked URL, sent back unchanged, keeps the stored one.",
    )


class WebhookWithSecretSerializer(WebhookSerializer):
    """A webhook with its secret, which is shown only once."""

    secret = serializers.CharField(required=False, help_text="Absent in formats without signatures.")


class ChangedWebhookSerializer(WebhookSerializer):
    """A webhook after a change. Moving it to another receiver generates a new secret, which is shown only once."""

    secret = serializers.CharField(required=False)


class EnabledWebhookSerializer(WebhookSerializer):
    """A webhook after it was enabled."""

    released = serializers.IntegerField(read_only=True, help_text="Number of held deliveries that were released.")


class DisabledWebhookSerializer(WebhookSerializer):
    """A webhook after it was disabled."""

    held = serializers.IntegerField(read_only=True, help_text="Number of pending deliveries that are now held.")


class HeaderChangesSerializer(serializers.Serializer[Any]):
    headers = serializers.DictField(
        child=serializers.RegexField(f"^{HEADER_VALUE.pattern}$", max_length=MAX_HEADER_LENGTH, allow_null=True),
        help_text="Header values by name; null removes a header.",
    )


class EnableSerializer(serializers.Serializer[Any]):
    release_held = serializers.BooleanField(
        default=False, required=False, help_text="Also send the deliveries held while the webhook was disabled."
    )


class RotationSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(required=False, allow_null=True, help_text="New secret; generated if absent.")
    overlap = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=2_592_000,
        help_text="Seconds for which the previous secrets keep signing; 0 stops them immediately.",
    )  # fmt: skip


class StatsSerializer(serializers.Serializer[Any]):
    since = serializers.DateTimeField()
    deliveries = serializers.DictField(child=serializers.IntegerField(), help_text="Number of deliveries by state.")
    attempts = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    success_rate = serializers.FloatField(
        allow_null=True, help_text="Share of attempts that succeeded, from 0 to 1; null without attempts."
    )
    p50_ms = serializers.FloatField(allow_null=True, help_text="Median duration of an attempt, in milliseconds.")
    p95_ms = serializers.FloatField(allow_null=True, help_text="95th percentile of the duration, in milliseconds.")
    p99_ms = serializers.FloatField(allow_null=True, help_text="99th percentile of the duration, in milliseconds.")


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": MAX_TYPE_LENGTH, "pattern": f"^{TYPE.pattern}$"})
class EventTypeName(serializers.CharField):
    """The name of an event type: words joined by dots."""


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


class TestSerializer(serializers.Serializer[Any]):
    type = EventTypeName(
        required=False,
        allow_null=True,
        help_text="An event type that the webhook subscribes to; by default, the first one with an example.",
    )


class NewEventSerializer(serializers.Serializer[Any]):
    """An event to publish."""

    type = EventTypeName(help_text="Words joined by dots, such as issues.opened.")
    data = serializers.JSONField(help_text="Any JSON value; delivered exactly as sent.")  # type: ignore[assignment]  # a field
    repository = serializers.RegexField(
        f"^({NAME_PATTERN}/)?{NAME_PATTERN}$", required=False, allow_null=True,
        help_text="Name of the repository, short or full.",
    )  # fmt: skip
    organization = serializers.RegexField(
        f"^{NAME_PATTERN}$", required=False, allow_null=True, help_text=NAMED_BY_OPERATORS
    )
    id = serializers.RegexField(
        WITHOUT_CONTROL_CHARACTERS, required=False, allow_null=True, max_length=255,
        help_text="Idempotency key of printable characters. Repeating it returns the first response.",
    )  # fmt: skip
    timestamp = serializers.DateTimeField(
        required=False, allow_null=True, help_text="When the event occurred; now if absent."
    )


class ReceiptSerializer(serializers.Serializer[Any]):
    """The receipt of a stored event."""

    id = serializers.UUIDField()
    type = serializers.CharField()
    accepted_at = serializers.DateTimeField()


class ValidatedSerializer(serializers.Serializer[Any]):
    """The result of a successful validation."""

    valid = serializers.BooleanField()
    organization = serializers.CharField()
    events = serializers.IntegerField()


class ReceiptBatchSerializer(serializers.Serializer[Any]):
    """The receipts of an array or of NDJSON, in the order in which the events were sent."""

    events = ReceiptSerializer(many=True)


class EventSerializer(serializers.ModelSerializer[Event]):
    organization = serializers.CharField(source="organization.slug", read_only=True)
    repository = serializers.CharField(source="repository.name", default=None, read_only=True, allow_null=True)
    idempotency_key = serializers.CharField(read_only=True, allow_null=True)
    timestamp = serializers.DateTimeField(source="occurred_at", read_only=True)

    class Meta:
        model = Event
        fields = ("id", "type", "organization", "repository", "idempotency_key", "timestamp", "accepted_at")


class DeliveryOfEventSerializer(serializers.Serializer[Any]):
    """A delivery of an event, in brief."""

    id = serializers.UUIDField()
    webhook = serializers.UUIDField()
    state = serializers.ChoiceField(Delivery.State.choices)


class EventDetailSerializer(EventSerializer):
    data = serializers.SerializerMethodField(help_text="The published data.")  # type: ignore[assignment]  # a field
    deliveries = serializers.SerializerMethodField(help_text="The first 100 deliveries of this event.")

    class Meta(EventSerializer.Meta):
        fields = (*EventSerializer.Meta.fields, "data", "deliveries")  # type: ignore[assignment]  # more of the same

    @extend_schema_field({})
    def get_data(self, event: Event) -> Any:
        return read_payload(bytes(event.payload))

    @extend_schema_field(DeliveryOfEventSerializer(many=True))
    def get_deliveries(self, event: Event) -> list[dict[str, Any]]:
        owed = Delivery.objects.filter(event_id=event.pk).select_related("webhook").order_by("id")[:100]
        return [{"id": str(one.pk), "webhook": str(one.webhook.uid), "state": one.state} for one in owed]


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    event = serializers.UUIDField(source="event_id", read_only=True)
    type = serializers.CharField(source="event_type", read_only=True)
    webhook = serializers.UUIDField(source="webhook.uid", read_only=True)
    repository = serializers.CharField(source="repository.name", default=None, read_only=True, allow_null=True)

    class Meta:
        model = Delivery
        fields = (
            "id", "event", "type", "webhook", "repository", "state", "ending", "attempts_made", "failures",
            "redeliveries", "last_status", "due_at", "created_at", "finished_at",
        )  # fmt: skip
        extra_kwargs: ClassVar = {
            "ending": {"help_text": "Why the delivery is finished; null until then."},
            "attempts_made": {"help_text": "Number of attempts."},
            "failures": {"help_text": "Number of failed attempts in the current retry schedule."},
            "redeliveries": {"help_text": "Number of times the delivery was redelivered."},
            "due_at": {"help_text": "When the next attempt of a pending delivery is due."},
        }


class SentSerializer(serializers.Serializer[Any]):
    """The request of an attempt, with secrets masked."""

    url = serializers.CharField()
    headers = serializers.CharField(help_text="One `Name: value` pair per line.")


class AnsweredSerializer(serializers.Serializer[Any]):
    """The receiver's response to an attempt."""

    headers = serializers.CharField(help_text="One `Name: value` pair per line.")
    body = serializers.CharField(help_text="Start of the body, as text.")


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    duration = Seconds(allow_null=True)
    request = serializers.SerializerMethodField()
    response = serializers.SerializerMethodField()

    class Meta:
        model = Attempt
        fields = ("id", "number", "started_at", "duration", "outcome", "status", "error", "request", "response")

    @extend_schema_field(SentSerializer)
    def get_request(self, attempt: Attempt) -> dict[str, str]:
        return {"url": attempt.url, "headers": attempt.request_headers}

    @extend_schema_field(AnsweredSerializer(allow_null=True))
    def get_response(self, attempt: Attempt) -> dict[str, str] | None:
        return response_of(attempt)


class DeliveryDetailSerializer(DeliverySerializer):
    attempts = serializers.SerializerMethodField()

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "attempts")  # type: ignore[assignment]  # more of the same

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, delivery: Delivery) -> list[dict[str, Any]]:
        attempts = Attempt.objects.filter(delivery_id=delivery.pk).order_by("number")
        return list(AttemptSerializer(attempts, many=True).data)


class NewReplaySerializer(serializers.Serializer[Any]):
    """A filter for deliveries; at least one field besides `organization` is required."""

    organization = serializers.CharField(required=False, allow_null=True, help_text=NAMED_BY_OPERATORS)
    deliveries = serializers.ListField(
        child=serializers.UUIDField(), required=False, min_length=1, max_length=MAX_IDS,
        help_text="Only these deliveries.",
    )  # fmt: skip
    webhook = serializers.UUIDField(required=False, help_text="Only deliveries to this webhook.")
    event = serializers.UUIDField(required=False, help_text="Only deliveries of this event.")
    repository = serializers.CharField(required=False, help_text="Only deliveries of this repository's events.")
    state = serializers.ListField(
        child=serializers.ChoiceField(Delivery.State.choices), required=False, min_length=1,
        help_text="Only deliveries in one of these states.",
    )  # fmt: skip
    type = serializers.RegexField(r"^[^\u0000]*$", required=False, help_text="Only deliveries of events of this type.")
    after = serializers.DateTimeField(required=False, help_text="Created at or after this time.")
    before = serializers.DateTimeField(required=False, help_text="Created before this time.")


class ReplaySerializer(serializers.ModelSerializer[Replay]):
    asked = serializers.DictField(read_only=True, help_text="The filter as sent.")

    class Meta:
        model = Replay
        fields = ("id", "state", "asked", "total", "examined", "redelivered", "created_at", "finished_at")


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

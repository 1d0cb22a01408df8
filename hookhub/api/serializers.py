"""How the nouns look from outside."""

import json
import math
from datetime import datetime
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deliveries import vault
from deliveries.formats import MASK
from deliveries.models import NAME, Attempt, Delivery, Event, Organization, Repository, Webhook
from hookhub import api_keys, networks
from hookhub.models import ApiKey, Replay, Scope


class OrganizationSerializer(serializers.ModelSerializer[Organization]):
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
            # Whether it is taken the database says, as a conflict.
            "slug": {"validators": [NAME]},
            "default_dialect": {"help_text": "The system whose event types and addresses it uses."},
            "default_format": {"allow_blank": False, "help_text": "null leaves it to the default dialect."},
            "validate_events": {"help_text": "Refuse events of a known type that break its schema."},
            "create_repositories": {"help_text": "Create a repository when the first event about it is published."},
            "limits": {"help_text": "Its own limits, which the operator sets; null for the deployment's."},
        }


class RepositorySerializer(serializers.ModelSerializer[Repository]):
    full_name = serializers.CharField(read_only=True)

    class Meta:
        model = Repository
        fields = ("name", "full_name", "private", "created_at")
        read_only_fields = ("created_at",)


@extend_schema_field(serializers.ListField(child=serializers.CharField()))
class Networks(serializers.Field[Any, Any, Any, Any]):
    """A list of addresses and networks."""

    def to_representation(self, value: Any) -> list[str]:
        return list(value)

    def to_internal_value(self, data: Any) -> list[str]:
        try:
            return networks.normalized(data)
        except networks.InvalidNetworks as error:
            raise serializers.ValidationError(str(error)) from error


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    id = serializers.CharField(source="key_id", read_only=True)
    scope = serializers.ChoiceField(Scope.choices, required=True)
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="When the key stops working; null for never."
    )
    allowed_networks = Networks(
        required=False, help_text="Addresses and networks from which the key may be used; empty for anywhere."
    )

    class Meta:
        model = ApiKey
        fields = (
            "id", "name", "scope", "expires_at", "allowed_networks", "created_at", "rolled_at",
            "previous_secret_expires_at", "last_used_at", "revoked_at",
        )  # fmt: skip
        read_only_fields = ("created_at", "rolled_at", "previous_secret_expires_at", "last_used_at", "revoked_at")

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        """Refuse an expiry that is over."""
        if error := api_keys.expiry_error(value, now=timezone.now()):
            raise serializers.ValidationError(error)
        return value


class ApiKeyChangesSerializer(ApiKeySerializer):
    """What can be changed of a key; what it may do was decided when it was handed out."""

    class Meta(ApiKeySerializer.Meta):
        read_only_fields = (*ApiKeySerializer.Meta.read_only_fields, "scope")  # type: ignore[assignment]  # one more

    scope = serializers.ChoiceField(Scope.choices, read_only=True)


class RollSerializer(serializers.Serializer[Any]):
    """How to roll a key."""

    overlap_seconds = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=int(api_keys.MAX_OVERLAP.total_seconds()),
        help_text="How long the old secret is still accepted [HOOKHUB_SECRET_OVERLAP].",
    )
    expires_at = serializers.DateTimeField(required=False, help_text="A new expiry; without one the old one stays.")

    def validate_expires_at(self, value: datetime) -> datetime:
        """Refuse an expiry that is over."""
        if error := api_keys.expiry_error(value, now=timezone.now()):
            raise serializers.ValidationError(error)
        return value


class ApiKeyWithTextSerializer(ApiKeySerializer):
    """What creating answers: the one time the key itself is shown."""

    key = serializers.CharField(read_only=True)

    class Meta(ApiKeySerializer.Meta):
        fields = (*ApiKeySerializer.Meta.fields, "key")  # type: ignore[assignment]  # one more


@extend_schema_field(OpenApiTypes.FLOAT)
class Seconds(serializers.Field[Any, Any, Any, Any]):
    """A span of time as a number of seconds."""

    def to_representation(self, value: Any) -> float:
        return float(value.total_seconds())

    def to_internal_value(self, data: Any) -> Any:
        return data


class WebhookHeaders(serializers.DictField):
    """A webhook's own headers, by name, each value masked."""

    child = serializers.CharField()

    def to_representation(self, value: Any) -> dict[str, str]:
        return dict.fromkeys(vault.headers_of(value), MASK)


class WebhookSerializer(serializers.Serializer[Webhook]):
    """A webhook; its writable fields are checked by deliveries.terms, which knows the format's rules."""

    id = serializers.UUIDField(source="uid", read_only=True)
    organization = serializers.CharField(source="organization.slug", read_only=True)
    repository = serializers.CharField(
        source="repository.name", allow_null=True, required=False, default=None,
        help_text="Only this repository's events; null for the whole organization's.",
    )  # fmt: skip
    name = serializers.CharField(required=False, allow_blank=True)
    url = serializers.CharField(
        source="shown_url",
        help_text="Reads back with its query's values masked; in formats whose URL is a secret, such as slack, all.",
    )
    events = serializers.ListField(child=serializers.CharField(), help_text='Event types, families, or ["*"].')
    format = serializers.CharField(required=False, help_text="The wire format; the organization's default if absent.")
    content_type = serializers.CharField(required=False)
    secret = serializers.CharField(
        write_only=True, required=False, allow_blank=True,
        help_text="Made up if absent; empty for none, where the format allows that. ******** keeps the stored one.",
    )  # fmt: skip
    headers = WebhookHeaders(
        source="*", required=False,
        help_text="Own headers by name. Values read back as ********, which sent back keeps the one that is stored; "
        "all headers that are left out are removed.",
    )  # fmt: skip
    verify_ssl = serializers.BooleanField(required=False)
    retry_schedule = serializers.ListField(
        child=Seconds(), allow_null=True, required=False,
        help_text="Waits in seconds; [] for no retries, null for the deployment's schedule.",
    )  # fmt: skip
    timeout = Seconds(allow_null=True, required=False, help_text="Seconds one attempt may take in all.")
    max_in_flight = serializers.IntegerField(allow_null=True, required=False)
    auto_disable = serializers.BooleanField(required=False)
    active = serializers.BooleanField(required=False)
    disabled_at = serializers.DateTimeField(read_only=True)
    disabled_reason = serializers.CharField(read_only=True)
    failure_count = serializers.IntegerField(read_only=True)
    resting_until = serializers.DateTimeField(read_only=True)
    last_delivery_at = serializers.DateTimeField(read_only=True)
    last_delivery_status = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    updated_at = serializers.DateTimeField(source="changed_at", read_only=True)


class WebhookWithSecretSerializer(WebhookSerializer):
    """What creating or rotating answers: the one time the secret is shown."""

    secret = serializers.CharField(read_only=True)


class HeaderChangesSerializer(serializers.Serializer[Any]):
    headers = serializers.DictField(
        child=serializers.CharField(allow_null=True), help_text="Values to set; null removes a header."
    )


class EnableSerializer(serializers.Serializer[Any]):
    release_held = serializers.BooleanField(default=False, required=False)


class RotationSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(required=False, help_text="Made up if absent.")
    overlap = serializers.IntegerField(required=False, help_text="Seconds; 0 ends the old ones at once.")


class StatsSerializer(serializers.Serializer[Any]):
    since = serializers.DateTimeField()
    deliveries = serializers.DictField(child=serializers.IntegerField(), help_text="How many by state.")
    attempts = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    success_rate = serializers.FloatField(allow_null=True)
    p50_ms = serializers.FloatField(allow_null=True)
    p95_ms = serializers.FloatField(allow_null=True)
    p99_ms = serializers.FloatField(allow_null=True)


class EventTypeSerializer(serializers.Serializer[Any]):
    """For the document, and to show; what arrives is checked by hookhub.event_types."""

    type = serializers.CharField(help_text="Words joined by dots, such as issues.opened.")
    family = serializers.CharField(read_only=True, help_text="The word by which webhooks ask for it and its like.")
    dialect = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="The system that documents it; null for one of its own.",
    )
    description = serializers.CharField(required=False, allow_blank=True)
    actions = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="What its data may name as its action."
    )
    schema = serializers.JSONField(
        required=False, allow_null=True, help_text="JSON Schema 2020-12, without regular expressions."
    )
    example = serializers.JSONField(required=False, allow_null=True, help_text="What a test event carries.")


class TestSerializer(serializers.Serializer[Any]):
    type = serializers.CharField(required=False, help_text="One that the webhook asks for; the first such if absent.")


class NewEventSerializer(serializers.Serializer[Any]):
    """For the document and the form; what arrives is read by hookhub.api.intake, byte for byte."""

    type = serializers.CharField(help_text="Words joined by dots, such as issues.opened.")
    data = serializers.JSONField(help_text="Any JSON value; it is sent exactly as written.")  # type: ignore[assignment]  # a field
    repository = serializers.CharField(required=False, allow_null=True)
    organization = serializers.CharField(required=False, help_text="Needed with an operator's key only.")
    id = serializers.CharField(required=False, help_text="Idempotency key: a repeat gets the first answer.")
    timestamp = serializers.DateTimeField(required=False, help_text="When it happened; now if absent.")


class ReceiptSerializer(serializers.Serializer[Any]):
    """For the document; hookhub.api.events.publish writes receipts by itself, a thousand at a time."""

    id = serializers.UUIDField()
    type = serializers.CharField()
    accepted_at = serializers.DateTimeField()


class ValidatedSerializer(serializers.Serializer[Any]):
    """What would have been published."""

    valid = serializers.BooleanField()
    organization = serializers.CharField()
    events = serializers.IntegerField()


class EventSerializer(serializers.ModelSerializer[Event]):
    organization = serializers.CharField(source="organization.slug", read_only=True)
    repository = serializers.CharField(source="repository.name", default=None, read_only=True)
    idempotency_key = serializers.CharField(read_only=True)
    timestamp = serializers.DateTimeField(source="occurred_at", read_only=True)

    class Meta:
        model = Event
        fields = ("id", "type", "organization", "repository", "idempotency_key", "timestamp", "accepted_at")


class EventDetailSerializer(EventSerializer):
    data = serializers.SerializerMethodField(help_text="What was published.")  # type: ignore[assignment]  # a field
    deliveries = serializers.SerializerMethodField(help_text="The first 100 deliveries this event is owed in.")

    class Meta(EventSerializer.Meta):
        fields = (*EventSerializer.Meta.fields, "data", "deliveries")  # type: ignore[assignment]  # more of the same

    def get_data(self, event: Event) -> Any:
        return read_payload(bytes(event.payload))

    def get_deliveries(self, event: Event) -> list[dict[str, Any]]:
        owed = Delivery.objects.filter(event_id=event.pk).select_related("webhook").order_by("id")[:100]
        return [{"id": str(one.pk), "webhook": str(one.webhook.uid), "state": one.state} for one in owed]


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    event = serializers.UUIDField(source="event_id", read_only=True)
    type = serializers.CharField(source="event_type", read_only=True)
    webhook = serializers.UUIDField(source="webhook.uid", read_only=True)
    repository = serializers.CharField(source="repository.name", default=None, read_only=True)

    class Meta:
        model = Delivery
        fields = (
            "id", "event", "type", "webhook", "repository", "state", "ending", "attempts_made", "failures",
            "redeliveries", "last_status", "due_at", "created_at", "finished_at",
        )  # fmt: skip


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    duration = Seconds()
    request = serializers.SerializerMethodField()
    response = serializers.SerializerMethodField()

    class Meta:
        model = Attempt
        fields = ("id", "number", "started_at", "duration", "outcome", "status", "error", "request", "response")

    def get_request(self, attempt: Attempt) -> dict[str, str]:
        return {"url": attempt.url, "headers": attempt.request_headers}

    def get_response(self, attempt: Attempt) -> dict[str, str] | None:
        if attempt.status is None:
            return None
        # Shown as text whatever it is: a receiver's answer is never to be rendered.
        text = bytes(attempt.response_body).decode("utf-8", "backslashreplace").replace("\0", "\\x00")
        return {"headers": attempt.response_headers, "body": text}


class DeliveryDetailSerializer(DeliverySerializer):
    attempts = serializers.SerializerMethodField()

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "attempts")  # type: ignore[assignment]  # more of the same

    def get_attempts(self, delivery: Delivery) -> list[dict[str, Any]]:
        attempts = Attempt.objects.filter(delivery_id=delivery.pk).order_by("number")
        return list(AttemptSerializer(attempts, many=True).data)


class NewReplaySerializer(serializers.Serializer[Any]):
    """A filter; name at least one of these."""

    deliveries = serializers.ListField(child=serializers.UUIDField(), required=False)
    webhook = serializers.UUIDField(required=False)
    event = serializers.UUIDField(required=False)
    repository = serializers.CharField(required=False)
    state = serializers.ListField(child=serializers.ChoiceField(Delivery.State.choices), required=False)
    type = serializers.CharField(required=False)
    after = serializers.DateTimeField(required=False)
    before = serializers.DateTimeField(required=False)


class ReplaySerializer(serializers.ModelSerializer[Replay]):
    class Meta:
        model = Replay
        fields = ("id", "state", "asked", "total", "examined", "redelivered", "created_at", "finished_at")


def read_payload(payload: bytes) -> Any:
    """Read a payload to be shown; a number too large to be one in JavaScript's sense is shown as its text."""

    def number(text: str) -> float | str:
        return value if math.isfinite(value := float(text)) else text

    return json.loads(payload, parse_float=number)

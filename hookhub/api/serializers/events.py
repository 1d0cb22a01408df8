"""How the API represents events, in requests and in responses."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deliveries.models import Delivery, Event
from hookhub.api.serializers.fields import NAMED_BY_OPERATORS, EventTypeName
from hookhub.http.attempts import read_payload
from hookhub.http.fields import DateTimeField, ModelSerializer
from hookhub.http.patterns import NAME_PATTERN, WITHOUT_CONTROL_CHARACTERS


class TraceSerializer(serializers.Serializer[Any]):
    """W3C Trace Context, as a propagator of OpenTelemetry fills it."""

    traceparent = serializers.CharField()
    tracestate = serializers.CharField(required=False)


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
    timestamp = DateTimeField(required=False, allow_null=True, help_text="When the event occurred; now if absent.")
    trace = TraceSerializer(
        required=False, allow_null=True,
        help_text="The trace that receivers are sent, instead of the request's own. An invalid one is ignored.",
    )  # fmt: skip


class ReceiptSerializer(serializers.Serializer[Any]):
    """The receipt of a stored event."""

    id = serializers.UUIDField()
    type = serializers.CharField()
    accepted_at = DateTimeField()


class ValidatedSerializer(serializers.Serializer[Any]):
    """The result of a successful validation."""

    valid = serializers.BooleanField()
    organization = serializers.CharField()
    events = serializers.IntegerField()


class ReceiptBatchSerializer(serializers.Serializer[Any]):
    """The receipts of an array or of NDJSON, in the order in which the events were sent."""

    events = ReceiptSerializer(many=True)


class EventSerializer(ModelSerializer[Event]):
    """Something that happened, as it was published."""

    organization = serializers.CharField(source="organization.slug", read_only=True)
    repository = serializers.CharField(source="repository.name", default=None, read_only=True, allow_null=True)
    idempotency_key = serializers.CharField(read_only=True, allow_null=True)
    timestamp = DateTimeField(source="occurred_at", read_only=True)

    class Meta:
        model = Event
        fields = ("id", "type", "organization", "repository", "idempotency_key", "timestamp", "accepted_at")


class DeliveryOfEventSerializer(serializers.Serializer[Any]):
    """A delivery of an event, in brief."""

    id = serializers.UUIDField()
    webhook = serializers.UUIDField()
    state = serializers.ChoiceField(Delivery.State.choices)


class EventDetailSerializer(EventSerializer):
    """An event with its data and its deliveries."""

    data = serializers.SerializerMethodField(help_text="The published data.")  # type: ignore[assignment]  # a field
    deliveries = serializers.SerializerMethodField(help_text="The first 100 deliveries of this event.")

    class Meta(EventSerializer.Meta):
        fields = (*EventSerializer.Meta.fields, "data", "deliveries")  # type: ignore[assignment]  # more of the same

    @extend_schema_field({})
    def get_data(self, event: Event) -> Any:
        return read_payload(bytes(event.payload))

    @extend_schema_field(DeliveryOfEventSerializer(many=True))
    def get_deliveries(self, event: Event) -> list[dict[str, Any]]:
        deliveries = Delivery.objects.filter(event_id=event.pk).select_related("webhook").order_by("id")[:100]
        return [{"id": str(one.pk), "webhook": str(one.webhook.uid), "state": one.state} for one in deliveries]

"""How the API represents deliveries, attempts and replays."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deliveries.explanations import explanation_of, timing_of
from deliveries.models import Attempt, Delivery
from deliveries.policy.outcomes import CAUSES
from hookhub.api.serializers.fields import NAMED_BY_OPERATORS, Seconds
from hookhub.http.attempts import response_of
from hookhub.http.fields import DateTimeField, ModelSerializer
from hookhub.models import Replay

# Maximum number of single deliveries in one replay.
MAX_IDS = 1000


class DeliverySerializer(ModelSerializer[Delivery]):
    """An event for one webhook, the same on each attempt and redelivery."""

    event = serializers.UUIDField(source="event_id", read_only=True)
    type = serializers.CharField(source="event_type", read_only=True)
    webhook = serializers.UUIDField(source="webhook.uid", read_only=True)
    repository = serializers.CharField(source="repository.name", default=None, read_only=True, allow_null=True)

    class Meta:
        model = Delivery
        fields = (
            "id", "event", "type", "webhook", "repository", "state", "finish_reason", "attempts_made", "failures",
            "redeliveries", "last_status", "due_at", "created_at", "finished_at",
        )  # fmt: skip
        extra_kwargs: ClassVar = {
            "finish_reason": {"help_text": "Why the delivery is finished; null until then."},
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


class TimingSerializer(serializers.Serializer[Any]):
    """How long each phase of an attempt took, in seconds; null for a phase that was not needed, or not completed."""

    dns = serializers.FloatField(allow_null=True, help_text="Look-up of the host name.")
    connect = serializers.FloatField(allow_null=True, help_text="TCP connection; null if one was kept from before.")
    tls = serializers.FloatField(allow_null=True, help_text="TLS handshake.")
    first_byte = serializers.FloatField(
        allow_null=True, help_text="From the request to the first byte of the response."
    )


class ExplanationSerializer(serializers.Serializer[Any]):
    """Why an attempt did not deliver, in words."""

    what_happened = serializers.CharField()
    what_to_do = serializers.CharField()


class AttemptSerializer(ModelSerializer[Attempt]):
    """One request that was made for a delivery."""

    duration = Seconds(allow_null=True)
    request = serializers.SerializerMethodField()
    response = serializers.SerializerMethodField()
    timing = serializers.SerializerMethodField()
    cause = serializers.ChoiceField(
        choices=CAUSES, read_only=True, allow_null=True, default=None,
        help_text="What exactly went wrong, if there was no response and it is known.",
    )  # fmt: skip
    explanation = serializers.SerializerMethodField()

    class Meta:
        model = Attempt
        fields = (
            "id", "number", "started_at", "duration", "timing", "outcome", "status", "cause", "error", "explanation",
            "request", "response",
        )  # fmt: skip

    @extend_schema_field(SentSerializer)
    def get_request(self, attempt: Attempt) -> dict[str, str]:
        return {"url": attempt.url, "headers": attempt.request_headers}

    @extend_schema_field(AnsweredSerializer(allow_null=True))
    def get_response(self, attempt: Attempt) -> dict[str, str] | None:
        return response_of(attempt)

    @extend_schema_field(TimingSerializer)
    def get_timing(self, attempt: Attempt) -> dict[str, float | None]:
        return timing_of(attempt)

    @extend_schema_field(ExplanationSerializer(allow_null=True))
    def get_explanation(self, attempt: Attempt) -> dict[str, str] | None:
        found = explanation_of(attempt, wire_format=self.context["format"])
        return None if found is None else found._asdict()


class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with its attempts."""

    attempts = serializers.SerializerMethodField()

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "attempts")  # type: ignore[assignment]  # more of the same

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, delivery: Delivery) -> list[dict[str, Any]]:
        attempts = Attempt.objects.filter(delivery_id=delivery.pk).order_by("number")
        return list(AttemptSerializer(attempts, many=True, context={"format": delivery.webhook.format}).data)


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
    after = DateTimeField(required=False, help_text="Created at or after this time.")
    before = DateTimeField(required=False, help_text="Created before this time.")


class ReplaySerializer(ModelSerializer[Replay]):
    """A job that redelivers in the background."""

    asked = serializers.DictField(read_only=True, help_text="The filter as sent.")
    cancel_reason = serializers.ChoiceField(
        Replay.CancelReason.choices, read_only=True, allow_null=True, help_text="Why it was cancelled, or null."
    )
    total = serializers.IntegerField(
        read_only=True,
        help_text="The deliveries that the filter selects or, of kind `missing`, all events of the period.",
    )
    total_is_at_least = serializers.BooleanField(
        read_only=True, help_text="Whether there may be more than `total`: counting beforehand stops at a limit."
    )

    class Meta:
        model = Replay
        fields = (
            "id", "kind", "state", "cancel_reason", "asked", "total", "total_is_at_least", "examined", "redelivered",
            "created_at", "finished_at",
        )  # fmt: skip

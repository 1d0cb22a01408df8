"""How the API represents what a webhook's receiver was asked for: verifications, and what a subscriber wants."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deliveries.models import Verification
from deliveries.proofs import PROOFS
from deliveries.webhooks.verification_log import MAX_KEPT, OUTCOMES
from hookhub.api.serializers.fields import Seconds
from hookhub.http.fields import DateTimeField


@extend_schema_field({"type": "string", "enum": [*PROOFS, None], "nullable": True})
class ProofName(serializers.CharField):
    """The name of a proof; those of a hub and of agents are shown, and cannot be asked for."""


class LoggedTime(DateTimeField):
    """A time that is stored in ISO form."""

    def to_representation(self, value: Any) -> Any:
        return super().to_representation(datetime.fromisoformat(value))


class VerificationRequestSerializer(serializers.Serializer[Any]):
    """One request of a verification."""

    number = serializers.IntegerField(read_only=True, min_value=1)
    started_at = LoggedTime(read_only=True)
    duration = serializers.FloatField(read_only=True, allow_null=True, help_text="In seconds; null if unknown.")
    outcome = serializers.ChoiceField(
        OUTCOMES, read_only=True, help_text="`unknown` if the worker ended before it was recorded."
    )
    status = serializers.IntegerField(read_only=True, allow_null=True, help_text="HTTP status of the response, if any.")
    excerpt = serializers.CharField(read_only=True, help_text="The beginning of its body.")
    error = serializers.CharField(read_only=True, help_text="Why it was no proof.")


class VerificationSerializer(serializers.Serializer[Verification]):
    """A request, repeated on a short schedule, to which the receiver must answer as the proof demands."""

    id = serializers.UUIDField(read_only=True)
    state = serializers.ChoiceField(Verification.State.choices, read_only=True)
    url = serializers.CharField(
        source="stored_url",
        read_only=True,
        help_text="The URL asked, masked like the webhook's own.",
    )
    attempts = serializers.IntegerField(source="attempts_made", read_only=True, help_text="Number of requests so far.")
    due_at = DateTimeField(read_only=True, allow_null=True, help_text="When the next request is due; null if none is.")
    started_at = DateTimeField(
        source="last_started_at", read_only=True, allow_null=True, help_text="When the last request started."
    )
    duration = Seconds(source="last_duration", read_only=True, allow_null=True)
    status = serializers.IntegerField(
        source="last_status", read_only=True, allow_null=True, help_text="HTTP status of the last response, if any."
    )
    excerpt = serializers.CharField(source="last_excerpt", read_only=True, help_text="The beginning of its body.")
    error = serializers.CharField(source="last_error", read_only=True, help_text="Why it was no proof.")
    requests = VerificationRequestSerializer(
        many=True, read_only=True, help_text=f"The latest requests, oldest first; at most {MAX_KEPT}."
    )
    created_at = DateTimeField(read_only=True)
    finished_at = DateTimeField(read_only=True, allow_null=True)


class SubscriptionSerializer(serializers.Serializer[Any]):
    """What a subscriber has asked for: at the hub by WebSub, or an agent by MCP."""

    topic = serializers.CharField(required=False, help_text="WebSub: the topic, as the subscriber writes it.")
    hub = serializers.CharField(required=False, help_text="WebSub: the address that it subscribed at.")
    algorithm = serializers.CharField(required=False, help_text="WebSub: the algorithm that signs.")
    is_public = serializers.BooleanField(
        required=False, help_text="WebSub: whether it subscribed without a key that may read the repository."
    )
    id = serializers.CharField(required=False, help_text="MCP: the id of the subscription, as the agent knows it.")
    name = serializers.CharField(required=False, help_text="MCP: the name of the event.")
    arguments = serializers.DictField(required=False, help_text="MCP: what events are filtered by.")
    api_key = serializers.CharField(required=False, help_text="MCP: the id of the API key with which it subscribed.")

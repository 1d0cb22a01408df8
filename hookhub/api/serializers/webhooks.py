"""How the API represents webhooks, their statistics and changes."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from deliveries import formats, timezone, vault
from deliveries.event_types.topics import MAX_TYPE_LENGTH
from deliveries.formats import MASK
from deliveries.models import Webhook
from deliveries.policy.rate_limits import MAX_PER, MAX_REQUESTS_A_SECOND
from deliveries.sending.url import MAX_LENGTH as MAX_URL_LENGTH
from deliveries.webhooks.fields import (
    HEADER_VALUE,
    MAX_EVENTS,
    MAX_HEADER_LENGTH,
    MAX_IN_FLIGHT,
    MAX_RETRIES,
    MAX_RETRY_WAIT,
)
from deliveries.webhooks.verifying import latest_of
from hookhub.api.request_fields import MAX_OVERLAP
from hookhub.api.serializers.fields import NAMED_BY_OPERATORS, EventTypeName, OneLineField, Seconds
from hookhub.api.serializers.verifications import ProofName, SubscriptionSerializer, VerificationSerializer
from hookhub.http.fields import DateTimeField
from hookhub.http.patterns import EVENT_PATTERN, URL_PATTERN

MASKED_URL = (
    "Returned with the values of its query masked, or fully masked in formats whose URL is a secret, such as slack."
)
KIND = "`push`: HookHub sends the events to the URL. `poll`: the receiver fetches them; there is no URL. It is fixed."


@extend_schema_field({"type": "number", "format": "double", "minimum": 1, "maximum": MAX_RETRY_WAIT.total_seconds()})
class RetryWait(Seconds):
    """Seconds to wait before a retry."""


@extend_schema_field(
    {"type": "number", "format": "double", "minimum": 1, "maximum": settings.HOOKHUB_MAX_TIMEOUT.total_seconds()}
)
class Timeout(Seconds):
    """Seconds that an attempt may take."""


@extend_schema_field({"type": "object", "additionalProperties": True, "nullable": True})
class Filter(serializers.JSONField):
    """The filter of a webhook; the engine validates it."""


class WebhookHeaders(serializers.DictField):
    """A webhook's custom headers by name, with each value masked."""

    child = serializers.RegexField(f"^{HEADER_VALUE.pattern}$", max_length=MAX_HEADER_LENGTH)

    def to_representation(self, value: Any) -> dict[str, str]:
        return dict.fromkeys(vault.headers_to_show(value), MASK)


class ShownUrl(serializers.CharField):
    """The URL of a webhook as it may be shown; null if it is polled."""

    def to_representation(self, value: Any) -> Any:
        return super().to_representation(value) or None


class RateLimitSerializer(serializers.Serializer[Any]):
    """A limit of the rate of a webhook's requests: from one in ten seconds to 10,000 a second."""

    requests = serializers.IntegerField(
        min_value=1, max_value=MAX_PER * MAX_REQUESTS_A_SECOND,
        help_text="How many there are at an even pace, and never more than a tenth above it.",
    )  # fmt: skip
    per = serializers.IntegerField(min_value=1, max_value=MAX_PER, help_text="In any so many seconds.")


class WebhookSerializer(serializers.Serializer[Webhook]):
    """A subscription of a URL to event types."""

    id = serializers.UUIDField(source="uid", read_only=True)
    organization = serializers.CharField(source="organization.slug", read_only=True)
    repository = serializers.CharField(
        source="repository.name", allow_null=True, required=False, default=None,
        help_text="Receive only this repository's events; null for all events of the organization.",
    )  # fmt: skip
    name = OneLineField(required=False, allow_blank=True, max_length=200, help_text="Display name.")
    kind = serializers.ChoiceField(Webhook.Kind.choices, help_text=KIND)
    url: serializers.CharField = ShownUrl(
        source="shown_url", max_length=MAX_URL_LENGTH, allow_null=True, help_text=f"{MASKED_URL} Null if it is polled."
    )
    events = serializers.ListField(
        child=serializers.RegexField(EVENT_PATTERN, max_length=MAX_TYPE_LENGTH),
        min_length=1, max_length=MAX_EVENTS,
        help_text='Event types or families to subscribe to, or ["*"] for all.',
    )  # fmt: skip
    filter = Filter(
        source="own_filter", required=False, allow_null=True,
        help_text="Conditions on an event's data, such as `{\"data\": {\"action\": \"opened\"}}`; null for all events.",
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
    rate_limit = RateLimitSerializer(
        allow_null=True, required=False,
        help_text="How many requests the webhook gets at most, retries included; null for no limit.",
    )  # fmt: skip
    auto_disable = serializers.BooleanField(
        required=False, help_text="Whether to disable the webhook automatically when its deliveries keep failing."
    )
    verify = ProofName(
        source="proof", allow_null=True, required=False,
        help_text="How the URL, and another one later, must prove itself before anything is sent to it: `challenge`, a "
        "challenge that it echoes, or `handshake`, that of CloudEvents' Web Hooks. Null: no verification.",
    )  # fmt: skip
    verified_at = DateTimeField(
        read_only=True, allow_null=True, help_text="When the URL was last verified; null if it never was."
    )
    verification = serializers.SerializerMethodField(
        help_text="The latest verification, which may be of a new URL; null if there was none."
    )
    allowed_rate = serializers.IntegerField(
        read_only=True, allow_null=True,
        help_text="How many requests a minute the receiver has allowed in the handshake, and gets; null for no limit.",
    )  # fmt: skip
    subscription = serializers.SerializerMethodField(
        help_text="What a subscriber has asked for; null for webhooks that were created otherwise."
    )
    expires_at = DateTimeField(
        allow_null=True, required=False,
        help_text="When the webhook ends: from then on it gets no events, and pending deliveries are cancelled.",
    )  # fmt: skip
    status = serializers.SerializerMethodField(
        help_text="Whether it receives events: `active`, `unverified`, `disabled`, or `ended` with its lease."
    )
    active = serializers.BooleanField(required=False, help_text="Whether the webhook is enabled.")
    disabled_at = DateTimeField(read_only=True, allow_null=True)
    # No enumeration: Java clients made by openapi-generator fail on a nullable one.
    disabled_reason = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text=f"One of {', '.join(Webhook.DisabledReason.values)}; null if the webhook is enabled.",
    )
    failure_count = serializers.IntegerField(
        read_only=True, help_text="Number of failed attempts since the last success."
    )
    backoff_until = DateTimeField(
        read_only=True, allow_null=True, help_text="Until when the webhook gets no requests, because of a backoff."
    )
    last_delivery_at = DateTimeField(read_only=True, allow_null=True)
    last_delivery_status = serializers.CharField(
        read_only=True, allow_null=True, help_text="HTTP status of the last attempt, or why there was no response."
    )
    created_at = DateTimeField(read_only=True)
    updated_at = DateTimeField(source="changed_at", read_only=True)

    @extend_schema_field(VerificationSerializer(allow_null=True))
    def get_verification(self, webhook: Webhook) -> object:
        latest = latest_of(webhook)
        return None if latest is None else VerificationSerializer(latest).data

    @extend_schema_field(SubscriptionSerializer(allow_null=True))
    def get_subscription(self, webhook: Webhook) -> object:
        found = webhook.subscription
        return (
            None if found is None else {name: found[name] for name in SubscriptionSerializer().fields if name in found}
        )

    @extend_schema_field(serializers.ChoiceField(Webhook.Status.choices))
    def get_status(self, webhook: Webhook) -> str:
        return webhook.status(now=timezone.now()).value


@extend_schema_serializer(component_name="Webhook")
class NewWebhookSerializer(WebhookSerializer):
    """A subscription of a URL to event types."""

    organization = serializers.CharField(required=False, allow_null=True, help_text=NAMED_BY_OPERATORS)
    kind = serializers.ChoiceField(
        Webhook.Kind.choices, required=False, default=Webhook.Kind.PUSH.value, help_text=KIND
    )
    url = serializers.RegexField(
        URL_PATTERN,
        max_length=MAX_URL_LENGTH,
        allow_null=True,
        required=False,
        help_text=f"{MASKED_URL} Required, except of a polling webhook, which has none.",
    )


@extend_schema_serializer(component_name="Webhook")
class WebhookChangesSerializer(WebhookSerializer):
    """Changes to a webhook."""

    repository = serializers.CharField(read_only=True, allow_null=True)
    kind = serializers.ChoiceField(Webhook.Kind.choices, required=False, help_text=KIND)
    url = serializers.RegexField(
        URL_PATTERN,
        max_length=MAX_URL_LENGTH,
        allow_null=True,
        required=False,
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
        required=False, allow_null=True, min_value=0, max_value=MAX_OVERLAP,
        help_text="Seconds for which the previous secrets keep signing; 0 stops them immediately.",
    )  # fmt: skip


class StatsSerializer(serializers.Serializer[Any]):
    since = DateTimeField()
    deliveries = serializers.DictField(child=serializers.IntegerField(), help_text="Number of deliveries by state.")
    attempts = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    success_rate = serializers.FloatField(
        allow_null=True, help_text="Share of attempts that succeeded, from 0 to 1; null without attempts."
    )
    p50_ms = serializers.FloatField(allow_null=True, help_text="Median duration of an attempt, in milliseconds.")
    p95_ms = serializers.FloatField(allow_null=True, help_text="95th percentile of the duration, in milliseconds.")
    p99_ms = serializers.FloatField(allow_null=True, help_text="99th percentile of the duration, in milliseconds.")


class TestSerializer(serializers.Serializer[Any]):
    type = EventTypeName(
        required=False,
        allow_null=True,
        help_text="An event type that the webhook subscribes to; by default, the first one with an example.",
    )
    data = serializers.JSONField(  # type: ignore[assignment]  # a field
        required=False, help_text="The data to send instead of the example; requires `type`."
    )

"""How the API represents alert channels and alerts."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deliveries import plain_text
from deliveries.policy.incidents import LEVELS
from hookhub.alerts.channels import MAX_NAME, MAX_RECIPIENTS
from hookhub.api.request_fields import MAX_OVERLAP
from hookhub.api.serializers.fields import OneLineField, StrictBooleanField, StrictCharField
from hookhub.http.fields import ModelSerializer
from hookhub.models import KINDS, Alert, AlertChannel, AlertKind

CHOICES = [(kind.value, kind.label) for kind in AlertKind if kind.value in KINDS]


@extend_schema_field({"type": "integer", "enum": list(LEVELS), "default": LEVELS[0]})
class Level(serializers.Field[Any, Any, Any, Any]):
    """A percentage at which a failing webhook is announced; ``channels`` validates it."""

    def to_representation(self, value: Any) -> int:
        return int(value)

    def to_internal_value(self, data: Any) -> Any:
        return data


@extend_schema_field({"type": "string", "maxLength": 2048, "pattern": r"^[^\u0000]*$"})
class Url(StrictCharField):
    pass


class NewAlertChannelSerializer(serializers.Serializer[Any]):
    """The fields of a new channel; those of a change are the same, without ``type``."""

    type = serializers.ChoiceField(
        AlertChannel.Type.choices,
        help_text="`slack` is an incoming webhook, `teams` a workflow, `webhook` a URL of your own.",
    )
    name = OneLineField(required=False, allow_blank=True, max_length=MAX_NAME, validators=[plain_text.validate])
    kinds = serializers.ListField(
        child=serializers.ChoiceField(CHOICES),
        required=False,
        min_length=1,
        max_length=len(KINDS),
        help_text="What it is told; everything by default.",
    )
    from_percent = Level(
        required=False,
        help_text="Of the warnings that a webhook keeps failing, only those from this percentage on.",
    )
    repository = StrictCharField(
        required=False, allow_null=True, help_text="Only about the webhooks of this repository; null for all."
    )
    recipients = serializers.ListField(
        child=serializers.EmailField(max_length=254),
        required=False,
        max_length=MAX_RECIPIENTS,
        help_text="For `email`: the addresses; none for the owners of the organization.",
    )
    url = Url(required=False, max_length=2048, help_text="For all others: where to send to. It is shown masked.")
    enabled = StrictBooleanField(required=False, default=True)


class AlertChannelChangesSerializer(NewAlertChannelSerializer):
    """Changes to a channel. Its type cannot be changed."""

    type = None  # type: ignore[assignment]  # Django REST framework's way to leave out an inherited field.
    enabled = StrictBooleanField(required=False)


class AlertChannelSerializer(ModelSerializer[AlertChannel]):
    """Where alerts about webhooks are sent."""

    kinds = serializers.ListField(child=serializers.ChoiceField(CHOICES))
    from_percent = Level()
    repository = serializers.SlugRelatedField[Any](slug_field="name", read_only=True, allow_null=True)
    recipients = serializers.ListField(child=serializers.CharField())
    url = serializers.CharField(source="stored_url", help_text="With its secret parts masked; empty for e-mail.")
    enabled = serializers.SerializerMethodField()
    last_error = serializers.CharField(help_text="Why the last alert could not be sent; empty if it was.")

    class Meta:
        model = AlertChannel
        fields = (
            "id", "name", "type", "kinds", "from_percent", "repository", "recipients", "url", "enabled",
            "last_sent_at", "failing_since", "last_error", "created_at", "changed_at",
        )  # fmt: skip
        extra_kwargs: ClassVar = {"failing_since": {"help_text": "Since when nothing could be sent; null if it works."}}

    def get_enabled(self, channel: AlertChannel) -> bool:
        return channel.paused_at is None


class ChannelRotationSerializer(serializers.Serializer[Any]):
    overlap = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=MAX_OVERLAP,
        help_text="Seconds for which the previous secrets keep signing; 0 stops them immediately.",
    )  # fmt: skip


class NewlyCreatedAlertChannelSerializer(AlertChannelSerializer):
    """A new channel; one of type ``webhook`` with the secret that signs, which is shown only once."""

    secret = serializers.CharField(allow_null=True)

    class Meta(AlertChannelSerializer.Meta):
        fields = (*AlertChannelSerializer.Meta.fields, "secret")  # type: ignore[assignment]  # one more


class AlertedWebhookSerializer(serializers.Serializer[Any]):
    """The webhook that an alert is about."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class AlertSerializer(ModelSerializer[Alert]):
    """A message about a webhook that was sent, or will be, to one channel."""

    webhook = serializers.SerializerMethodField()
    channel = serializers.SerializerMethodField(help_text="The id of the channel; null for an e-mail to the owners.")
    channel_type = serializers.ChoiceField([(Alert.OWNERS, "e-mail to the owners"), *AlertChannel.Type.choices])
    percent = serializers.IntegerField(
        allow_null=True, help_text="How much of what disables the webhook was used up; null for other kinds."
    )
    details = serializers.DictField(help_text="The facts told, as in the system event.")
    error = serializers.CharField(help_text="Why it could not be sent, at the last attempt.")

    class Meta:
        model = Alert
        fields = (
            "id", "kind", "percent", "webhook", "channel", "channel_type", "channel_name", "details", "state",
            "attempts", "error", "created_at", "finished_at",
        )  # fmt: skip

    @extend_schema_field(AlertedWebhookSerializer(allow_null=True))
    def get_webhook(self, alert: Alert) -> dict[str, Any] | None:
        webhook = alert.webhook
        return None if webhook is None else {"id": str(webhook.uid), "name": webhook.name}

    @extend_schema_field({"type": "string", "format": "uuid", "nullable": True})
    def get_channel(self, alert: Alert) -> str | None:
        return None if alert.channel_id is None else str(alert.channel_id)

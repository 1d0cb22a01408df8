"""Shapes of what is fetched from polling webhooks, and of those that fetch it."""

from typing import Any

from rest_framework import serializers

from hookhub.http.fields import DateTimeField


class PolledEventSerializer(serializers.Serializer[Any]):
    """An event of a polling webhook, with the request that a webhook with a URL would get."""

    id = serializers.UUIDField(help_text="The id of the delivery: the same however often the event is fetched.")
    event = serializers.UUIDField(help_text="The id of the event.")
    type = serializers.CharField()
    timestamp = DateTimeField(help_text="When it happened.")
    cursor = serializers.CharField(help_text="The position after this event.")
    headers = serializers.DictField(
        child=serializers.CharField(),
        allow_null=True,
        help_text="The headers of the request, signed now; null if it cannot be built.",
    )
    body = serializers.CharField(allow_null=True, help_text="Its body, over which the signature is.")
    error = serializers.CharField(allow_null=True, help_text="Why the request cannot be built.")


class PollSerializer(serializers.Serializer[Any]):
    """Events of a polling webhook, in the order in which they were accepted."""

    events = PolledEventSerializer(many=True)
    cursor = serializers.CharField(help_text="The position after the last of these events: pass it to get the next.")
    has_more = serializers.BooleanField(help_text="Whether there are more already.")
    expired = serializers.IntegerField(
        help_text="How many events before and between these were deleted unread, because they were older than the "
        "retention period."
    )


class PollConsumerSerializer(serializers.Serializer[Any]):
    """A program that reads a polling webhook, and how far it has come."""

    name = serializers.CharField(read_only=True)
    cursor = serializers.CharField(help_text="The position up to which it has processed the events.")
    behind = serializers.IntegerField(read_only=True, help_text="How many events it has not processed yet.")
    committed_at = DateTimeField(read_only=True, help_text="When it last committed its position.")
    created_at = DateTimeField(read_only=True)


class PollConsumersSerializer(serializers.Serializer[Any]):
    """The consumers of a polling webhook."""

    consumers = PollConsumerSerializer(many=True)

"""What the OpenAPI document says is answered at `/v1/webhooks`: HookHub's own shapes, or Coregit's."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer
from rest_framework import serializers

from hookhub.api.serializers import WebhookSerializer, WebhookWithSecretSerializer
from hookhub.api.speaking import HEADER, NATIVE
from hookhub.dialects.coregit import (
    CoregitDeletedSerializer,
    CoregitListSerializer,
    CoregitNewWebhookSerializer,
    CoregitWebhookSerializer,
)


class WebhookPageSerializer(serializers.Serializer[Any]):
    """A page of HookHub's own list."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = WebhookSerializer(many=True)


def either(name: str, *shapes: type[serializers.Serializer[Any]]) -> PolymorphicProxySerializer:
    """Describe an answer that has one of several shapes, as the organization's dialect has it."""
    return PolymorphicProxySerializer(name, serializers=list(shapes), resource_type_field_name=None)


SHOWN = either("ShownWebhook", WebhookSerializer, CoregitWebhookSerializer)
CREATED = either("CreatedWebhook", WebhookWithSecretSerializer, CoregitNewWebhookSerializer)
LISTED = either("ListedWebhooks", WebhookPageSerializer, CoregitListSerializer)
DELETED = {200: CoregitDeletedSerializer, 204: None}

WORDS = OpenApiParameter(
    HEADER, location=OpenApiParameter.HEADER, enum=[NATIVE.slug],
    description="Answer in HookHub's own shapes, whatever the organization's default dialect is.",
)  # fmt: skip

"""`/v1/organizations/{slug}/portal`: how an organization's portal looks, and which pages may embed it."""

from collections.abc import Callable
from typing import ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import plain_text, timezone
from hookhub import branding
from hookhub.api.request_fields import fields_of, validated
from hookhub.api.serializers.fields import OneLineField, StrictModelSerializer
from hookhub.api.views import GenericAPIView
from hookhub.http.authorization import authorize
from hookhub.http.openapi import extend_schema
from hookhub.models import PortalSettings, Scope


@extend_schema_field({"type": "string", "pattern": f"^({branding.COLOR.pattern})?$"})
class Color(serializers.CharField):
    pass


@extend_schema_field({"type": "string", "maxLength": branding.MAX_LOGO, "pattern": f"^({branding.LOGO.pattern})?$"})
class Logo(serializers.CharField):
    pass


class PortalSettingsSerializer(StrictModelSerializer[PortalSettings]):
    """The look of an organization's portal."""

    product_name = OneLineField(
        required=False, allow_blank=True, max_length=branding.MAX_NAME, validators=[plain_text.validate],
        help_text="Name of your product, shown at the head of each page.",
    )  # fmt: skip
    accent_color = Color(
        required=False, allow_blank=True, help_text="Color of buttons and of the head, such as `#1a2b3c`."
    )
    logo = Logo(
        required=False, allow_blank=True, max_length=branding.MAX_LOGO,
        help_text="A `data:` URL in base64 of a PNG, JPEG, WebP, GIF or SVG image.",
    )  # fmt: skip
    embed_origins = serializers.ListField(
        child=serializers.CharField(max_length=branding.MAX_ORIGIN), required=False, max_length=branding.MAX_ORIGINS,
        help_text="Origins whose pages may embed the portal, such as `https://app.example`.",
    )  # fmt: skip

    class Meta:
        model = PortalSettings
        fields: ClassVar = ("product_name", "accent_color", "logo", "embed_origins")

    def validate_accent_color(self, value: str) -> str:
        """Raise a validation error for anything but a color."""
        return checked(branding.read_color, value)

    def validate_logo(self, value: str) -> str:
        """Raise a validation error for anything but an image in a data: URL."""
        return checked(branding.read_logo, value)

    def validate_embed_origins(self, value: list[str]) -> list[str]:
        """Raise a validation error for anything but origins that a browser lets embed the portal."""
        return list(dict.fromkeys(checked(branding.read_origin, each) for each in value))


class PortalSettingsView(GenericAPIView[PortalSettings]):
    """Retrieve or change how the organization's portal looks, and which pages may embed it."""

    serializer_class = PortalSettingsSerializer

    def get(self, request: Request, slug: str) -> Response:
        """Get how the organization's portal looks, and which pages may embed it."""
        organization = authorize(request, scope=Scope.READ, organization=slug)
        found = PortalSettings.objects.filter(organization=organization).first()
        return Response(PortalSettingsSerializer(found or PortalSettings(organization=organization)).data)

    @extend_schema(responses=PortalSettingsSerializer)
    def patch(self, request: Request, slug: str) -> Response:
        """Change how the organization's portal looks, and which pages may embed it."""
        organization = authorize(request, scope=Scope.MASTER, organization=slug)
        serializer = PortalSettingsSerializer(data=fields_of(request.data), partial=True)
        changed = branding.change(organization, validated(serializer), now=timezone.now())
        return Response(PortalSettingsSerializer(changed).data)


def checked(read: Callable[[str], str], value: str) -> str:
    """Return what ``read`` makes of a value; raise a validation error with its reason instead of ValueError."""
    try:
        return read(value)
    except ValueError as error:
        raise serializers.ValidationError(str(error)) from error

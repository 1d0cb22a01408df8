"""`/v1/portal-sessions`: links to the portal, made by a product's server for one of its users."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit
from zoneinfo import available_timezones

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import timezone
from deliveries.models import Organization, Repository, Webhook
from hookhub import portal_sessions as sessions
from hookhub.api.request_fields import fields_of, validated
from hookhub.api.serializers.fields import StrictIntegerField
from hookhub.api.views import GenericAPIView
from hookhub.http.authorization import authorize_webhooks
from hookhub.http.fields import DateTimeField, ModelSerializer
from hookhub.http.links import public_url
from hookhub.http.openapi import extend_schema
from hookhub.http.query import read_uuid, require_known_parameters
from hookhub.http.refusals import invalid
from hookhub.models import PortalSession, Scope
from hookhub.portal_sessions import DEFAULT_LENGTH, MAX_LENGTH, MIN_LENGTH, NewSession

# The most webhooks that one session may name.
MAX_WEBHOOKS = 100
SECOND = timedelta(seconds=1)


class PortalScopeSerializer(serializers.Serializer[Any]):
    """What a session shows; without either field, all of the organization."""

    repository = serializers.CharField(required=False, help_text="Only the webhooks of this repository.")
    webhooks = serializers.ListField(
        child=serializers.UUIDField(), required=False, min_length=1, max_length=MAX_WEBHOOKS,
        help_text="Only these webhooks.",
    )  # fmt: skip

    def to_internal_value(self, data: Any) -> Any:
        """Return the scope; raise ValidationError for unknown fields: a misspelled one would show all webhooks."""
        if isinstance(data, Mapping) and (unknown := data.keys() - self.fields.keys()):
            known = ", ".join(self.fields)
            raise serializers.ValidationError(
                {str(name): [f"is not a known field; known fields: {known}"] for name in unknown}
            )
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": 2000, "pattern": "^https?://[!-~]+$"})
class ReturnUrl(serializers.CharField):
    """A URL of the web."""


class NewPortalSessionSerializer(serializers.Serializer[Any]):
    scope = PortalScopeSerializer(required=False)
    role = serializers.ChoiceField(PortalSession.Role.choices, default=PortalSession.Role.READ)
    expires_in = StrictIntegerField(
        default=DEFAULT_LENGTH // SECOND, min_value=MIN_LENGTH // SECOND, max_value=MAX_LENGTH // SECOND,
        help_text="For how many seconds the session lasts.",
    )  # fmt: skip
    theme = serializers.ChoiceField(PortalSession.Theme.choices, default=PortalSession.Theme.AUTO)
    locale = serializers.ChoiceField(
        PortalSession.Locale.choices,
        required=False,
        allow_null=True,
        help_text="Language of the pages; by default the browser's.",
    )
    time_zone = serializers.CharField(
        required=False, allow_null=True, max_length=64,
        help_text="Time zone of the times, such as `Europe/Berlin`; by default the browser's.",
    )  # fmt: skip
    return_url = ReturnUrl(
        required=False, max_length=2000, help_text="Where the pages lead back to, an http:// or https:// URL."
    )

    def validate_time_zone(self, value: str | None) -> str | None:
        """Raise a validation error for a name that the time zone database does not have."""
        if value is not None and value not in available_timezones():
            raise serializers.ValidationError("must be a time zone such as Europe/Berlin")
        return value

    def validate_return_url(self, value: str) -> str:
        """Raise a validation error for anything but a URL of the web: a link must not run a script."""
        try:
            parts = urlsplit(value)
        except ValueError as error:
            raise serializers.ValidationError("must be a URL") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or not value.isprintable():
            raise serializers.ValidationError("must be an http:// or https:// URL")
        return value


class PortalSessionSerializer(ModelSerializer[PortalSession]):
    """A session of the portal, without its link."""

    scope = serializers.SerializerMethodField()

    class Meta:
        model = PortalSession
        fields = (
            "id",
            "scope",
            "role",
            "theme",
            "locale",
            "time_zone",
            "created_at",
            "opened_at",
            "expires_at",
            "revoked_at",
        )
        extra_kwargs: ClassVar = {
            "opened_at": {"help_text": "When the link was opened; null until then."},
            "locale": {"help_text": "Language of the pages; null for the browser's."},
            "time_zone": {"help_text": "Time zone of the times; null for the browser's."},
        }

    def get_scope(self, session: PortalSession) -> PortalScopeSerializer:
        found: dict[str, Any] = {}
        if session.repository is not None:
            found["repository"] = session.repository.name
        if session.webhooks is not None:
            found["webhooks"] = [str(uid) for uid in session.webhooks]
        return found  # type: ignore[return-value]  # The annotation is for the OpenAPI document.


class PortalLinkSerializer(PortalSessionSerializer):
    """A new session with its link, which opens it once."""

    url = serializers.CharField(help_text="The link; it can be opened once, until `url_expires_at`.")
    url_expires_at = DateTimeField()

    class Meta(PortalSessionSerializer.Meta):
        fields = (*PortalSessionSerializer.Meta.fields, "url", "url_expires_at")  # type: ignore[assignment]


class PortalSessionsView(GenericAPIView[PortalSession]):
    """List the organization's portal sessions, or create one."""

    serializer_class = PortalSessionSerializer

    @extend_schema(responses=PortalSessionSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the organization's portal sessions, newest first."""
        require_known_parameters(request)
        organization = authorize_webhooks(request, scope=Scope.MANAGE)
        found = PortalSession.objects.filter(organization=organization).select_related("repository")
        return self.listed(found, PortalSessionSerializer)

    @extend_schema(request=NewPortalSessionSerializer, responses={201: PortalLinkSerializer})
    def post(self, request: Request) -> Response:
        """Create a portal session. The response contains the link, which is shown only once.

        Give it to one person: the first browser that opens it has the session.
        """
        organization = authorize_webhooks(request, scope=Scope.MANAGE)
        fields = validated(NewPortalSessionSerializer(data=fields_of(request.data)))
        new = new_session_of(fields, organization=organization)
        session, token = sessions.create(new, now=timezone.now())
        link = f"{public_url(request)}/portal/enter?{urlencode({'token': token})}"
        shown = {**PortalSessionSerializer(session).data, "url": link, "url_expires_at": session.token_expires_at}
        return Response(shown, status=201, headers={"Cache-Control": "no-store"})


class PortalSessionView(GenericAPIView[PortalSession]):
    """Retrieve or revoke a portal session. DELETE ends it at once, and its link."""

    serializer_class = PortalSessionSerializer

    def find(self, request: Request, uid: str) -> PortalSession:
        organization = authorize_webhooks(request, scope=Scope.MANAGE)
        found = PortalSession.objects.select_related("organization", "repository")
        return get_object_or_404(found, organization=organization, pk=read_uuid(uid))

    def get(self, request: Request, uid: str) -> Response:
        """Get a portal session, without its link."""
        return Response(PortalSessionSerializer(self.find(request, uid)).data)

    def delete(self, request: Request, uid: str) -> Response:
        """Revoke a portal session: it ends at once, and so does its link."""
        sessions.revoke(self.find(request, uid), now=timezone.now())
        return Response(status=204)


def new_session_of(fields: Mapping[str, Any], *, organization: Organization) -> NewSession:
    """Return the session that the fields ask for; raise a 422 for what does not belong to the organization."""
    scope = fields.get("scope", {})
    if len(scope) > 1:
        raise invalid({"scope": "must have `repository` or `webhooks`, not both"})
    repository, webhooks = None, None
    if "repository" in scope:
        repository = Repository.objects.filter(organization=organization, name=scope["repository"]).first()
        if repository is None:
            raise invalid({"scope.repository": "there is no such repository"})
    if "webhooks" in scope:
        webhooks = tuple(Webhook.objects.kept().filter(organization=organization, uid__in=scope["webhooks"]))
        if len(webhooks) < len(set(scope["webhooks"])):
            raise invalid({"scope.webhooks": "there are no such webhooks, or not all of them"})
    return NewSession(
        organization=organization,
        role=PortalSession.Role(fields["role"]),
        lasts=timedelta(seconds=fields["expires_in"]),
        repository=repository,
        webhooks=webhooks,
        theme=PortalSession.Theme(fields["theme"]),
        locale=fields.get("locale"),
        time_zone=fields.get("time_zone"),
        return_url=fields.get("return_url", ""),
    )

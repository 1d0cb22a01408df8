"""`/v1/alert-channels` and `/v1/alerts`: who is told when a webhook fails, and what has been sent."""

from collections.abc import Mapping
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from deliveries import timezone
from deliveries.db.lookups import find_one
from deliveries.models import Organization, Webhook
from hookhub.alerts import channels
from hookhub.api.request_fields import fields_of, read_overlap, repository_of, require_known_fields, validated
from hookhub.api.serializers.alerts import (
    AlertChannelChangesSerializer,
    AlertChannelSerializer,
    AlertSerializer,
    ChannelRotationSerializer,
    NewAlertChannelSerializer,
    NewlyCreatedAlertChannelSerializer,
)
from hookhub.api.views import GenericAPIView
from hookhub.http.authorization import authorize_webhooks
from hookhub.http.openapi import extend_schema
from hookhub.http.query import read_id, read_uuid, require_known_parameters
from hookhub.http.refusals import invalid
from hookhub.models import Alert, AlertChannel, AlertKind, Scope


class AlertChannelsView(GenericAPIView[AlertChannel]):
    """List the organization's alert channels, or create one."""

    serializer_class = AlertChannelSerializer

    @extend_schema(responses=AlertChannelSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the organization's alert channels, newest first."""
        require_known_parameters(request)
        organization = authorize_webhooks(request, scope=Scope.READ)
        found = AlertChannel.objects.filter(organization=organization).select_related("repository")
        return self.listed(found, AlertChannelSerializer)

    @extend_schema(request=NewAlertChannelSerializer, responses={201: NewlyCreatedAlertChannelSerializer})
    def post(self, request: Request) -> Response:
        """Create an alert channel. The response has the secret of one of type `webhook`, which is shown only once."""
        organization = authorize_webhooks(request, scope=Scope.MANAGE)
        fields = read(NewAlertChannelSerializer(data=fields_of(request.data)), organization=organization)
        channel, secret = channels.create(fields, organization=organization, now=timezone.now())
        shown = {**AlertChannelSerializer(channel).data, "secret": secret}
        return Response(shown, status=201, headers={"Cache-Control": "no-store"})


class AlertChannelView(GenericAPIView[AlertChannel]):
    """Retrieve, change or delete an alert channel. What waits to be sent to a deleted one is not sent."""

    serializer_class = AlertChannelSerializer

    def find(self, request: Request, uid: str, *, scope: Scope) -> AlertChannel:
        organization = authorize_webhooks(request, scope=scope)
        found = AlertChannel.objects.select_related("organization", "repository")
        return get_object_or_404(found, organization=organization, pk=read_uuid(uid))

    def get(self, request: Request, uid: str) -> Response:
        """Get an alert channel, with what became of the last alert sent to it."""
        return Response(AlertChannelSerializer(self.find(request, uid, scope=Scope.READ)).data)

    @extend_schema(request=AlertChannelChangesSerializer, responses=AlertChannelSerializer)
    def patch(self, request: Request, uid: str) -> Response:
        """Change the fields that the request names."""
        channel = self.find(request, uid, scope=Scope.MANAGE)
        serializer = AlertChannelChangesSerializer(data=fields_of(request.data), partial=True)
        fields = read(serializer, organization=channel.organization)
        changed = channels.change(channel, fields, now=timezone.now())
        return Response(AlertChannelSerializer(changed).data)

    def delete(self, request: Request, uid: str) -> Response:
        """Delete an alert channel. What waits to be sent to it is not sent."""
        channel = self.find(request, uid, scope=Scope.MANAGE)
        channels.delete(channel, now=timezone.now())
        return Response(status=204)


class AlertChannelTestView(AlertChannelView):
    """Send a test alert to a channel. It is sent within seconds; `GET /v1/alerts/{uid}` has what became of it."""

    http_method_names = ("post", "options")

    @extend_schema(request=None, responses={202: AlertSerializer})
    def post(self, request: Request, uid: str) -> Response:
        channel = self.find(request, uid, scope=Scope.MANAGE)
        alert = channels.send_test(channel, now=timezone.now())
        return Response(AlertSerializer(alert).data, status=202)


class RotateChannelSecretView(AlertChannelView):
    """Rotate the secret of a channel of type `webhook`. The response has the new one, which is shown only once.

    Alerts are also signed with the previous secrets for `overlap` seconds, one day by default.
    """

    http_method_names = ("post", "options")

    @extend_schema(request=ChannelRotationSerializer, responses={200: NewlyCreatedAlertChannelSerializer})
    def post(self, request: Request, uid: str) -> Response:
        channel = self.find(request, uid, scope=Scope.MANAGE)
        fields = fields_of(request.data)
        require_known_fields(fields, "overlap")
        overlap = read_overlap(fields)
        secret = channels.rotate_secret(channel, overlap=overlap, now=timezone.now())
        channel.refresh_from_db()
        shown = {**AlertChannelSerializer(channel).data, "secret": secret}
        return Response(shown, headers={"Cache-Control": "no-store"})


class AlertsView(GenericAPIView[Alert]):
    """List the alerts that were sent, or are to be, newest first."""

    serializer_class = AlertSerializer

    @extend_schema(
        parameters=[
            OpenApiParameter("webhook", OpenApiTypes.UUID, description="Only about this webhook."),
            OpenApiParameter("channel", OpenApiTypes.UUID, description="Only to this channel."),
            OpenApiParameter("kind", OpenApiTypes.STR, enum=AlertKind.values, description="Only of this kind."),
        ],
        responses=AlertSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        require_known_parameters(request, "webhook", "channel", "kind")
        organization = authorize_webhooks(request, scope=Scope.READ)
        found = Alert.objects.filter(organization=organization).select_related("webhook")
        if (uid := read_id(request.query_params.get("webhook"), "webhook")) is not None:
            webhook = find_one(Webhook.objects.filter(organization=organization, uid=uid))
            found = found.none() if webhook is None else found.filter(webhook=webhook)
        if (uid := read_id(request.query_params.get("channel"), "channel")) is not None:
            found = found.filter(channel=uid)
        if (kind := request.query_params.get("kind")) is not None:
            if kind not in AlertKind.values:
                raise invalid({"kind": f"must be one of: {', '.join(AlertKind.values)}"})
            found = found.filter(kind=kind)
        return self.listed(found, AlertSerializer)


class AlertView(GenericAPIView[Alert]):
    """Retrieve an alert."""

    serializer_class = AlertSerializer

    def get(self, request: Request, uid: str) -> Response:
        organization = authorize_webhooks(request, scope=Scope.READ)
        found = Alert.objects.select_related("webhook")
        return Response(AlertSerializer(get_object_or_404(found, organization=organization, pk=read_uuid(uid))).data)


def read(serializer: "BaseSerializer[Any]", *, organization: Organization) -> Mapping[str, object]:
    """Return the fields of a request, with the repository that they name; raise a 422 for invalid ones."""
    fields = validated(serializer)
    if fields.get("repository") is not None:
        fields["repository"] = repository_of(organization, fields["repository"])
    return fields

"""`/v1/api-keys`: the organization's API keys, for callers with the scope master."""

from datetime import timedelta

from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries import timezone
from hookhub import api_keys
from hookhub.api.request_fields import fields_of, validated
from hookhub.api.serializers.api_keys import (
    ApiKeyChangesSerializer,
    ApiKeySerializer,
    ApiKeyWithTextSerializer,
    RollSerializer,
)
from hookhub.api.views import GenericAPIView
from hookhub.http import authentication
from hookhub.http.authorization import authorize
from hookhub.http.openapi import extend_schema
from hookhub.http.query import require_known_parameters
from hookhub.models import ApiKey, Scope


class ApiKeysView(GenericAPIView[ApiKey]):
    """List the organization's API keys, or create one."""

    serializer_class = ApiKeySerializer

    @extend_schema(responses=ApiKeySerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the organization's API keys, newest first. Requires the scope `master`, as all operations on keys do."""
        require_known_parameters(request)
        organization = authorize(request, scope=Scope.MASTER)
        return self.listed(ApiKey.objects.filter(organization=organization), ApiKeySerializer)

    @extend_schema(responses={201: ApiKeyWithTextSerializer})
    def post(self, request: Request) -> Response:
        """Create an API key. The response contains the key itself, which is shown only once."""
        organization = authorize(request, scope=Scope.MASTER)
        fields = validated(ApiKeySerializer(data=fields_of(request.data)))
        key, text = ApiKey.issue(
            organization=organization,
            scope=Scope(fields["scope"]),
            name=fields.get("name", ""),
            expires_at=fields.get("expires_at"),
            allowed_networks=fields.get("allowed_networks", ()),
            now=timezone.now(),
        )
        return with_text(key, text, status=201)


class ApiKeyView(GenericAPIView[ApiKey]):
    """Retrieve, change or revoke an API key."""

    serializer_class = ApiKeySerializer

    def find(self, request: Request, key_id: str) -> ApiKey:
        organization = authorize(request, scope=Scope.MASTER)
        return get_object_or_404(ApiKey, organization=organization, key_id=key_id)

    def get(self, request: Request, key_id: str) -> Response:
        """Get an API key, without the key itself."""
        return Response(ApiKeySerializer(self.find(request, key_id)).data)

    @extend_schema(request=ApiKeyChangesSerializer, responses=ApiKeySerializer)
    def patch(self, request: Request, key_id: str) -> Response:
        """Change the name, the expiry or the networks of an API key."""
        key = self.find(request, key_id)
        fields = validated(ApiKeyChangesSerializer(key, data=fields_of(request.data), partial=True))
        changed = api_keys.change(key, fields, now=timezone.now())
        authentication.invalidate(key.key_id)
        return Response(ApiKeySerializer(changed).data)

    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke an API key, permanently and at once."""
        key = self.find(request, key_id)
        key.revoke(now=timezone.now())
        authentication.invalidate(key.key_id)
        return Response(status=204)


class RollView(ApiKeyView):
    """Roll an API key. The response contains the key with its new secret, which is shown only once.

    The old secret is accepted until the overlap ends.
    """

    http_method_names = ("post", "options")

    @extend_schema(request=RollSerializer, responses=ApiKeyWithTextSerializer)
    def post(self, request: Request, key_id: str) -> Response:
        key = self.find(request, key_id)
        fields = validated(RollSerializer(data=fields_of(request.data)))
        overlap = None if "overlap_seconds" not in fields else timedelta(seconds=fields["overlap_seconds"])
        rolled, text = api_keys.roll(key, overlap=overlap, expires_at=fields.get("expires_at"), now=timezone.now())
        authentication.invalidate(key.key_id)
        return with_text(rolled, text)


def with_text(key: ApiKey, text: str, *, status: int = 200) -> Response:
    """Return a response with a key and its text, which must not be cached."""
    headers = {"Cache-Control": "no-store"}
    return Response({**ApiKeySerializer(key).data, "key": text}, status=status, headers=headers)

"""`/v1/api-keys`: the organization's keys, for whoever may do everything in it."""

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from hookhub.api import authentication
from hookhub.api.organizations import refuse_unknown_fields
from hookhub.api.permissions import enter
from hookhub.api.serializers import ApiKeySerializer, ApiKeyWithTextSerializer
from hookhub.api.webhooks import fields_of
from hookhub.models import ApiKey, Scope


class ApiKeysView(GenericAPIView[ApiKey]):
    """The organization's API keys. The answer to a POST shows the new key, this once."""

    serializer_class = ApiKeySerializer
    queryset = ApiKey.objects.none()

    @extend_schema(responses=ApiKeySerializer(many=True))
    def get(self, request: Request) -> Response:
        organization = enter(request, needs=Scope.MASTER)
        page = self.paginate_queryset(ApiKey.objects.filter(organization=organization))
        return self.get_paginated_response(ApiKeySerializer(page, many=True).data)

    @extend_schema(responses={201: ApiKeyWithTextSerializer})
    def post(self, request: Request) -> Response:
        organization = enter(request, needs=Scope.MASTER)
        serializer = ApiKeySerializer(data=fields_of(request.data))
        refuse_unknown_fields(serializer)
        serializer.is_valid(raise_exception=True)
        wanted = serializer.validated_data
        key, text = ApiKey.issue(
            organization=organization,
            scope=Scope(wanted["scope"]),
            name=wanted.get("name", ""),
            now=timezone.now(),
        )
        return Response({**ApiKeySerializer(key).data, "key": text}, status=201)


class ApiKeyView(GenericAPIView[ApiKey]):
    """One API key; DELETE revokes it, and it opens nothing from then on."""

    serializer_class = ApiKeySerializer
    queryset = ApiKey.objects.none()

    def find(self, request: Request, key_id: str) -> ApiKey:
        organization = enter(request, needs=Scope.MASTER)
        return get_object_or_404(ApiKey, organization=organization, key_id=key_id.replace("\0", "-"))

    def get(self, request: Request, key_id: str) -> Response:
        return Response(ApiKeySerializer(self.find(request, key_id)).data)

    def delete(self, request: Request, key_id: str) -> Response:
        key = self.find(request, key_id)
        key.revoke(now=timezone.now())
        authentication.forget(key.key_id)
        return Response(status=204)

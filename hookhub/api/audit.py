"""`/v1/audit`: the log of changes, for callers with the scope master."""

import json
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries.db.ids import first_id_at
from deliveries.models import AuditEntry
from hookhub.api.views import GenericAPIView
from hookhub.http.authorization import authorize, is_operator, require
from hookhub.http.fields import DateTimeField
from hookhub.http.openapi import extend_schema
from hookhub.http.query import TEXT, read_timestamp, require_known_parameters
from hookhub.models import ApiKey, Scope

FILTERS = ("action", "actor", "target", "since", "until")


class ActorSerializer(serializers.Serializer[Any]):
    """The key, person, command or part of HookHub that made a change."""

    kind = serializers.ChoiceField(["api_key", "person", "command", "portal", "system", "anonymous"])
    id = serializers.CharField(help_text="Id of the key, login of the person or name of the command.")
    name = serializers.CharField(
        help_text="Name of the key or the person; for a command, the operating system user that ran it."
    )
    address = serializers.CharField(help_text="IP address of the client; empty if there was no request.")
    request_id = serializers.CharField(help_text="X-Request-Id of the request; empty if it had none.")


class TargetSerializer(serializers.Serializer[Any]):
    """The object that was changed."""

    kind = serializers.CharField()
    id = serializers.CharField(help_text="Empty if several objects were changed at once; `after` lists them.")
    label = serializers.CharField()  # type: ignore[assignment]  # a field


class AuditEntrySerializer(serializers.Serializer[Any]):
    """A change in the audit log."""

    id = serializers.UUIDField()
    recorded_at = DateTimeField()
    action = serializers.CharField(help_text="Object and verb, such as webhook.updated.")
    organization = serializers.CharField(allow_null=True)
    actor = ActorSerializer()
    target = TargetSerializer()
    before = serializers.DictField(
        allow_null=True, help_text="The changed fields before the change, with secrets masked."
    )
    after = serializers.DictField(allow_null=True, help_text="The same fields after the change.")


class AuditView(GenericAPIView[AuditEntry]):
    """List the audit log, newest first: every change by API, admin, command or HookHub itself, and its author.

    Requires the scope `master`. The operator gets the entries of all organizations, or with `organization` those of
    one.
    """

    serializer_class = AuditEntrySerializer

    @extend_schema(
        parameters=[
            OpenApiParameter("action", TEXT, description="Only this action, such as webhook.updated."),
            OpenApiParameter("actor", TEXT, description="Only changes by this API key id, login or command name."),
            OpenApiParameter("target", TEXT, description="Only changes of the object with this id."),
            OpenApiParameter("since", OpenApiTypes.DATETIME, description="Recorded at or after this time."),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description="Recorded before this time."),
            OpenApiParameter("organization", TEXT, description="For operators: only entries of this organization."),
        ],
        responses=AuditEntrySerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        require_known_parameters(request, *FILTERS)
        found = visible(request)
        columns = {"action": "action", "actor": "actor_id", "target": "target_id"}
        for name, column in columns.items():
            if text := request.query_params.get(name):
                found = found.filter(**{column: text})
        found = between(found, *(read_timestamp(request.query_params.get(name), name) for name in ("since", "until")))
        page = self.paginate_queryset(found) or []
        return self.get_paginated_response([shown(entry) for entry in page])


def visible(request: Request) -> "QuerySet[AuditEntry]":
    """Return the entries that the caller may read; raise a 403 for less than the scope master."""
    if is_operator(request) and not request.query_params.get("organization"):
        if isinstance(request.auth, ApiKey):
            require(Scope.MASTER, held=Scope(request.auth.scope))
        return AuditEntry.objects.all()
    return AuditEntry.objects.filter(organization=authorize(request, scope=Scope.MASTER))


def between(entries: "QuerySet[AuditEntry]", since: datetime | None, until: datetime | None) -> "QuerySet[AuditEntry]":
    """Limit entries to a span of time, which their ids begin with; a bound may be None."""
    if since is not None:
        entries = entries.filter(id__gte=first_id_at(since))
    return entries if until is None else entries.filter(id__lt=first_id_at(until))


def shown(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as the API shows it."""
    return {
        "id": entry.pk,
        "recorded_at": entry.recorded_at,
        "action": entry.action,
        "organization": entry.organization_slug or None,
        "actor": {
            "kind": entry.actor_kind,
            "id": entry.actor_id,
            "name": entry.actor_name,
            "address": entry.address,
            "request_id": entry.request_id,
        },
        "target": {"kind": entry.target_kind, "id": entry.target_id, "label": entry.target_label},
        "before": None if entry.before is None else json.loads(entry.before),
        "after": None if entry.after is None else json.loads(entry.after),
    }

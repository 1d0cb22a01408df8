"""Sigmagit's shapes of webhooks and errors: camelCase under `data`, and a message under `error`."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from rest_framework import serializers
from rest_framework.response import Response

from deliveries.formats.base import stamp
from deliveries.models import Repository, Webhook
from hookhub.http.fields import DateTimeField
from hookhub.http.problems import Problem

# Sigmagit's repositories have UUIDs and HookHub's have numbers, so each number always maps to the same UUID.
REPOSITORIES = UUID("6f1d5f0e-0d5b-4c55-9d6e-2f3a8f0c7b11")


class SigmagitErrorSerializer(serializers.Serializer[Any]):
    """An error, with a message that says why the request was refused."""

    error = serializers.CharField()


class SigmagitNewWebhookSerializer(serializers.Serializer[Any]):
    """A new webhook with its secret."""

    id = serializers.UUIDField()
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.CharField())
    secret = serializers.CharField(allow_null=True, help_text="Shown only once; null in formats without signatures.")


class SigmagitWebhookSerializer(serializers.Serializer[Any]):
    """A webhook."""

    id = serializers.UUIDField()
    repositoryId = serializers.UUIDField(allow_null=True)
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.CharField())
    active = serializers.BooleanField()
    lastDeliveryAt = DateTimeField(allow_null=True)
    lastDeliveryStatus = serializers.ChoiceField(["success", "failed"], allow_null=True)
    failureCount = serializers.IntegerField()
    createdAt = DateTimeField()
    updatedAt = DateTimeField()
    secret = serializers.CharField(required=False, help_text="Present only if the change generated a new secret.")


def shown(webhook: Webhook, secret: str | None = None) -> dict[str, Any]:
    """Return a webhook in Sigmagit's shape, with ``secret`` if it is new."""
    row = {
        "id": str(webhook.uid),
        "repositoryId": None if webhook.repository is None else repository_id(webhook.repository),
        "url": webhook.shown_url,
        "events": webhook.events,
        "active": webhook.active,
        "lastDeliveryAt": written(webhook.last_delivery_at),
        "lastDeliveryStatus": in_one_word(webhook.last_delivery_status),
        "failureCount": webhook.failure_count,
        "createdAt": written(webhook.created_at),
        "updatedAt": written(webhook.changed_at),
    }
    return row if secret is None else {**row, "secret": secret}


def shown_as_new(webhook: Webhook, secret: str | None) -> dict[str, Any]:
    """Return a new webhook with its secret, which is shown only once."""
    return {"id": str(webhook.uid), "url": webhook.url_when_created, "events": webhook.events, "secret": secret}


def repository_id(repository: Repository) -> str:
    """Return the UUID by which Sigmagit's clients know a repository."""
    return str(uuid5(REPOSITORIES, str(repository.pk)))


def in_one_word(status: str | None) -> str | None:
    """Return how the last attempt went, from its stored HTTP status or kind of failure; None before the first."""
    if status is None:
        return None
    return "success" if status.isdigit() and 200 <= int(status) <= 299 else "failed"


def written(moment: datetime | None) -> str | None:
    """Return a timestamp in JavaScript's format, or None."""
    return None if moment is None else stamp(moment, milliseconds=True)


def render_problem(problem: Problem, *, missing: str) -> Response:
    """Return an error in Sigmagit's shape; ``missing`` is the message of a 404."""
    match problem.status:
        case 403:
            sentence = "Unauthorized"
        case 404:
            sentence = missing
        case _:
            errors = [f"{field}: {error}" for field, error in problem.fields.items()]
            sentence = "; ".join(errors) or problem.message
    return Response({"error": sentence}, status=problem.status)

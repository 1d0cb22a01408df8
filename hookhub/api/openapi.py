"""The OpenAPI document of `/v1`: its summaries, and which errors its operations may return."""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter

from hookhub.api.serializers.fields import NAMED_BY_OPERATORS
from hookhub.http.openapi import DescribedSchema
from hookhub.http.query import TEXT

SUMMARIES: Mapping[str, str] = {
    "GET /v1/meta": "Get the deployment's configuration",
    "GET /v1/event-types": "List event types",
    "POST /v1/event-types": "Register an event type",
    "GET /v1/event-types/{name}": "Get an event type",
    "PATCH /v1/event-types/{name}": "Change an event type",
    "DELETE /v1/event-types/{name}": "Delete an event type",
    "GET /v1/event-types/{name}/schema": "Get the JSON Schema of an event type",
    "GET /v1/asyncapi.json": "Export the event types as AsyncAPI",
    "GET /v1/schemas.json": "Export the event types as JSON Schemas",
    "GET /v1/organizations": "List organizations",
    "POST /v1/organizations": "Create an organization",
    "GET /v1/organizations/{slug}": "Get an organization",
    "PATCH /v1/organizations/{slug}": "Change an organization",
    "GET /v1/audit": "List audit log entries",
    "GET /v1/api-keys": "List API keys",
    "POST /v1/api-keys": "Create an API key",
    "GET /v1/api-keys/{key_id}": "Get an API key",
    "PATCH /v1/api-keys/{key_id}": "Change an API key",
    "POST /v1/api-keys/{key_id}/roll": "Roll an API key",
    "DELETE /v1/api-keys/{key_id}": "Revoke an API key",
    "GET /v1/repositories": "List repositories",
    "POST /v1/repositories": "Create a repository",
    "GET /v1/repositories/{name}": "Get a repository",
    "PATCH /v1/repositories/{name}": "Change a repository",
    "DELETE /v1/repositories/{name}": "Delete a repository",
    "GET /v1/webhooks": "List webhooks",
    "POST /v1/webhooks": "Create a webhook",
    "GET /v1/webhooks/{uid}": "Get a webhook",
    "PATCH /v1/webhooks/{uid}": "Change a webhook",
    "DELETE /v1/webhooks/{uid}": "Delete a webhook",
    "PATCH /v1/webhooks/{uid}/headers": "Change a webhook's headers",
    "POST /v1/webhooks/{uid}/enable": "Enable a webhook",
    "POST /v1/webhooks/{uid}/disable": "Disable a webhook",
    "POST /v1/webhooks/{uid}/rotate-secret": "Rotate a webhook's secret",
    "POST /v1/webhooks/{uid}/ping": "Ping a webhook",
    "POST /v1/webhooks/{uid}/verify": "Verify a webhook's URL",
    "POST /v1/webhooks/{uid}/test": "Send a test event to a webhook",
    "GET /v1/webhooks/{uid}/replay-missing": "Count the events that a webhook never got",
    "POST /v1/webhooks/{uid}/replay-missing": "Deliver the events that a webhook never got",
    "GET /v1/webhooks/{uid}/poll": "Fetch the events of a polling webhook",
    "GET /v1/webhooks/{uid}/consumers": "List the consumers of a polling webhook",
    "PUT /v1/webhooks/{uid}/consumers/{name}": "Commit how far a consumer has read",
    "DELETE /v1/webhooks/{uid}/consumers/{name}": "Delete a consumer",
    "GET /v1/alert-channels": "List alert channels",
    "POST /v1/alert-channels": "Create an alert channel",
    "GET /v1/alert-channels/{uid}": "Get an alert channel",
    "PATCH /v1/alert-channels/{uid}": "Change an alert channel",
    "DELETE /v1/alert-channels/{uid}": "Delete an alert channel",
    "POST /v1/alert-channels/{uid}/test": "Send a test alert",
    "POST /v1/alert-channels/{uid}/rotate-secret": "Rotate an alert channel's secret",
    "GET /v1/alerts": "List alerts",
    "GET /v1/alerts/{uid}": "Get an alert",
    "GET /v1/portal-sessions": "List portal sessions",
    "POST /v1/portal-sessions": "Create a portal session",
    "GET /v1/portal-sessions/{uid}": "Get a portal session",
    "DELETE /v1/portal-sessions/{uid}": "Revoke a portal session",
    "GET /v1/webhooks/{uid}/stats": "Get a webhook's statistics",
    "GET /v1/webhooks/{uid}/timeseries": "Get a webhook's statistics by hour or day",
    "GET /v1/organizations/{slug}/timeseries": "Get an organization's statistics by hour or day",
    "GET /v1/organizations/{slug}/portal": "Get the look of an organization's portal",
    "PATCH /v1/organizations/{slug}/portal": "Change the look of an organization's portal",
    "GET /v1/events": "List events",
    "POST /v1/events": "Publish events",
    "POST /v1/events/validate": "Validate events without publishing them",
    "GET /v1/events/{uid}": "Get an event",
    "GET /v1/deliveries": "List deliveries",
    "GET /v1/deliveries/{uid}": "Get a delivery with its attempts",
    "POST /v1/deliveries/{uid}/redeliver": "Redeliver a delivery",
    "POST /v1/deliveries/{uid}/cancel": "Cancel a delivery",
    "GET /v1/replays": "List replays",
    "POST /v1/replays": "Start a replay",
    "GET /v1/replays/{uid}": "Get a replay",
    "POST /v1/replays/{uid}/cancel": "Cancel a replay",
}


SECRETS_UNREADABLE = "The stored secrets of the webhook cannot be decrypted."
NAME_IS_TAKEN = "The name is taken by another one, in any case."
NOT_ACTIVE = "The webhook is disabled, unverified or ended."
# What may be in the way of an operation, as a sentence: the 409 of these, and of no others.
CONFLICTS: Mapping[str, str] = {
    "POST /v1/event-types": "The organization has already registered this type.",
    "PATCH /v1/event-types/{name}": "The type is the dialect's; register one of the same name to replace it.",
    "DELETE /v1/event-types/{name}": "The type is the dialect's; register one of the same name to replace it.",
    "POST /v1/organizations": NAME_IS_TAKEN,
    "PATCH /v1/organizations/{slug}": NAME_IS_TAKEN,
    "POST /v1/repositories": NAME_IS_TAKEN,
    "PATCH /v1/repositories/{name}": NAME_IS_TAKEN,
    "PATCH /v1/webhooks/{uid}": SECRETS_UNREADABLE,
    "PATCH /v1/webhooks/{uid}/headers": SECRETS_UNREADABLE,
    "POST /v1/webhooks/{uid}/rotate-secret": SECRETS_UNREADABLE,
    "POST /v1/webhooks/{uid}/ping": NOT_ACTIVE,
    "POST /v1/webhooks/{uid}/test": NOT_ACTIVE,
    "POST /v1/webhooks/{uid}/replay-missing": "The webhook is not active, or as many replays run as may run at once.",
    "POST /v1/replays": "As many replays run as may run at once.",
    "PUT /v1/webhooks/{uid}/consumers/{name}": "The webhook has as many consumers as it may have.",
    "POST /v1/events": "An idempotency key was already used with different content; nothing was published.",
    "POST /v1/deliveries/{uid}/redeliver": "The delivery is being sent, or its webhook does not receive.",
    "POST /v1/deliveries/{uid}/cancel": "The delivery is neither pending nor held.",
}
# They act in no organization, or in the one of their path.
BY_PATH = ("/v1/meta", "/v1/organizations")
ORGANIZATION = OpenApiParameter("organization", TEXT, description=NAMED_BY_OPERATORS)


class ApiSchema(DescribedSchema):
    """Describes the operations of `/v1`."""

    summaries: ClassVar[Mapping[str, str]] = SUMMARIES
    conflicts: ClassVar[Mapping[str, str]] = CONFLICTS

    def get_override_parameters(self) -> list[Any]:
        """Return the parameters that all operations of `/v1` have: the organization, unless the path says which."""
        # drf-spectacular derives the schemas of decorated methods from this class, also those of dialects.
        return [ORGANIZATION] if self.path.startswith("/v1/") and not self.path.startswith(BY_PATH) else []

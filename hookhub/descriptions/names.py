"""The names of the OpenAPI document's schemas, which become the names of types in clients and SDKs."""

import re
from collections.abc import Mapping
from typing import Any

from hookhub.descriptions.corrections import Document, rewritten

SCHEMAS = "#/components/schemas/"
PAGE = re.compile(r"Paginated(\w+)List")
# What drf-spectacular makes of serializers' and fields' names, and what a reader would call it.
NAMES: Mapping[str, str] = {
    # Bodies of requests.
    "PublishedRequest": "NewEvents",
    "NewEventRequest": "NewEvent",
    "EventTypeRequest": "NewEventType",
    "PatchedEventTypeRequest": "EventTypeChanges",
    "WebhookRequest": "NewWebhook",
    "PatchedWebhookRequest": "WebhookChanges",
    "PatchedHeaderChangesRequest": "HeaderChanges",
    "RateLimitRequest": "NewRateLimit",
    "EnableRequest": "WebhookEnabling",
    "RotationRequest": "SecretRotation",
    "TestRequest": "TestEvent",
    "NewMissingReplayRequest": "NewMissingReplay",
    "NewReplayRequest": "NewReplay",
    "OrganizationRequest": "NewOrganization",
    "PatchedOrganizationRequest": "OrganizationChanges",
    "PatchedPortalSettingsRequest": "PortalSettingsChanges",
    "RepositoryRequest": "NewRepository",
    "PatchedRepositoryRequest": "RepositoryChanges",
    "ApiKeyRequest": "NewApiKey",
    "PatchedApiKeyChangesRequest": "ApiKeyChanges",
    "PollConsumerRequest": "PollConsumerChanges",
    "RollRequest": "ApiKeyRoll",
    "NewPortalSessionRequest": "NewPortalSession",
    "PortalScopeRequest": "NewPortalScope",
    "NewAlertChannelRequest": "NewAlertChannel",
    "ChannelRotationRequest": "AlertChannelRotation",
    "PatchedAlertChannelChangesRequest": "AlertChannelChanges",
    "SigmagitNewWebhookRequestRequest": "SigmagitWebhookToCreate",
    "PatchedSigmagitWebhookRequestRequest": "SigmagitWebhookChanges",
    "HookBodyRequest": "GitHubNewHook",
    "PatchedHookEditRequest": "GitHubHookChanges",
    "ConfigBodyRequest": "GitHubNewHookConfig",
    "PatchedConfigBodyRequest": "GitHubHookConfigChanges",
    # Parts of responses.
    "Sent": "AttemptRequest",
    "Answered": "AttemptResponse",
    "Timing": "AttemptTiming",
    "Explanation": "AttemptExplanation",
    "Stats": "WebhookStats",
    "Point": "TimeseriesPoint",
    "Failures": "FailureCounts",
    "Actor": "AuditActor",
    "Target": "AuditTarget",
    "NewlyCreatedAlertChannel": "AlertChannelWithSecret",
    "VerificationRequest": "VerificationAttempt",
    "AccountInShort": "GitHubAccountInShort",
    "AccountShown": "GitHubAccount",
    "OrganizationShown": "GitHubOrganization",
    "RepositoryShown": "GitHubRepository",
    "RateShown": "GitHubRate",
    "RateLimitShown": "GitHubRateLimit",
    "HookShown": "GitHubHook",
    "ConfigBody": "GitHubHookConfig",
    "LastResponse": "GitHubLastResponse",
    "ServiceRow": "GitHubHookKind",
    "DeliveryRow": "GitHubDeliveryInShort",
    "DeliveryShown": "GitHubDelivery",
    "Half": "GitHubDeliveryMessage",
    # Enumerations.
    "ActorKindEnum": "AuditActorKind",
    "AlertKindEnum": "AlertKind",
    "AlertStateEnum": "AlertState",
    "CancelReasonEnum": "ReplayCancelReason",
    "ChannelTypeEnum": "AlertReceiver",
    "ContentTypeEnum": "ContentType",
    "DefaultDialectEnum": "Dialect",
    "FromPercentEnum": "AlertLevel",
    "Hub.modeEnum": "HubMode",
    "InsecureSslEnum": "GitHubInsecureSsl",
    "JsonrpcEnum": "JsonRpcVersion",
    "KindsEnum": "AlertChannelKind",
    "LastDeliveryStatusEnum": "SigmagitLastDeliveryStatus",
    "LocaleEnum": "PortalLocale",
    "NameEnum": "GitHubHookName",
    "ReplayKindEnum": "ReplayKind",
    "RoleEnum": "PortalRole",
    "StatusEnum": "GitHubHookStatus",
    "StepEnum": "TimeseriesStep",
    "ThemeEnum": "PortalTheme",
    "TypeEnum": "AlertChannelType",
    "VerificationOutcomeEnum": "VerificationOutcome",
    "VerifyEnum": "Proof",
    "VisibilityEnum": "GitHubVisibility",
}


def rename_schemas(result: Document, **_: Any) -> Document:
    """Rename schemas as a reader expects them."""
    schemas = result["components"]["schemas"]

    def change(node: dict[str, Any]) -> dict[str, Any]:
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith(SCHEMAS):
            return {**node, "$ref": f"{SCHEMAS}{name_of(reference.removeprefix(SCHEMAS))}"}
        return node

    renamed = {name_of(name): schema for name, schema in schemas.items()}
    if len(renamed) < len(schemas):
        raise ValueError("Two schemas would have the same name.")
    components = {**result["components"], "schemas": dict(sorted(renamed.items()))}
    return dict(rewritten({**result, "components": components}, change))


def name_of(made: str) -> str:
    """Return a schema's name: a list's ends in Page; the others' are in the table, or as they are."""
    page = PAGE.fullmatch(made)
    return f"{page[1]}Page" if page else NAMES.get(made, made)

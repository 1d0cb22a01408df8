"""The names of the SDKs' types, from those of the schemas in the API's description."""

import re

# The SDKs write these by hand: what is published, errors, and lists.
BY_HAND = re.compile(
    r"(NewEvents?(Request)?|PublishedRequest|Receipts?|ReceiptBatch|Error.*|Paginated.*List|\w*Page|EventTypeList)$"
)
RENAMED = {
    "ChannelRotationRequest": "AlertChannelRotation",
    "EnableRequest": "WebhookEnabling",
    "NewlyCreatedAlertChannel": "AlertChannelWithSecret",
    "PollConsumerRequest": "PollConsumerChanges",
    "RollRequest": "ApiKeyRoll",
    "RotationRequest": "SecretRotation",
    "Stats": "WebhookStats",
    "TestRequest": "TestEvent",
    "VerificationRequest": "VerificationAttempt",
}
INITIALISMS = {"id": "ID", "ids": "IDs", "url": "URL", "api": "API", "ssl": "SSL", "ip": "IP", "http": "HTTP"}


def type_name(schema: str) -> str:
    """Return the name of the type of a schema: ``NewWebhook`` of ``WebhookRequest``, for example."""
    if schema in RENAMED:
        return RENAMED[schema]
    name = schema.removesuffix("Request")
    if name.startswith("Patched"):
        return name.removeprefix("Patched").removesuffix("Changes") + "Changes"
    if name != schema and not name.startswith("New"):
        return f"New{name}"
    return name.removesuffix("Enum")


def go_name(schema: str) -> str:
    """Return the name of a schema's type in Go."""
    return re.sub(r"(^|(?<=[a-z]))(Api|Url)(?=[A-Z]|$)", lambda found: found[0].upper(), type_name(schema))


def camel(name: str) -> str:
    """Return the name of a field or a method in Go."""
    words = re.split(r"[^A-Za-z0-9]+", name)
    return "".join(INITIALISMS.get(word.lower(), word[:1].upper() + word[1:]) for word in words)

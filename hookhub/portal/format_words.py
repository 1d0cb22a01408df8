"""What each wire format is good for, in one line."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

EXPLANATIONS: Mapping[str, str | Promise] = {
    "standard-webhooks": gettext_lazy(
        "JSON with type, time and data, signed as in the open Standard Webhooks. Libraries exist."
    ),
    "coregit": gettext_lazy("JSON as Coregit sends it, signed with HMAC-SHA256."),
    "code-storage": gettext_lazy("JSON as Code Storage sends it, signed with a timestamp."),
    "sigmagit": gettext_lazy("JSON as Sigmagit sends it, signed with HMAC-SHA256."),
    "social-gateway": gettext_lazy("Requests as SocialGateway sends them; signed if there is a secret."),
    "github": gettext_lazy("Requests as GitHub sends them, header for header; signed if there is a secret."),
    "codmir": gettext_lazy("JSON as codmir sends it, signed with HMAC-SHA256."),
    "slack": gettext_lazy("A message in a Slack channel. Use the URL of an incoming webhook of Slack."),
    "discord": gettext_lazy("A message in a Discord channel. Use the URL of a webhook of Discord."),
    "campfire": gettext_lazy("A message in a Campfire room. Use the URL of a bot of Campfire."),
    "websub": gettext_lazy("The data alone, as WebSub's hubs send it; signed if there is a secret."),
    "mcp-event": gettext_lazy(
        "An event for an agent, as the Model Context Protocol has it, signed as in Standard Webhooks."
    ),
    "cloudevents": gettext_lazy(
        "CloudEvents 1.0: attributes and data together as JSON, signed as in Standard Webhooks."
    ),
    "cloudevents-binary": gettext_lazy(
        "CloudEvents 1.0: the attributes as headers, the data as the body, signed likewise."
    ),
}


def explanation_of(slug: str) -> str:
    """Return what a wire format is good for; nothing for one that this version does not know."""
    return str(EXPLANATIONS.get(slug, ""))

"""What each wire format is good for, in one line."""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

EXPLANATIONS: Mapping[str, str | Promise] = {
    "standard-webhooks": _("JSON with type, time and data, signed as in the open Standard Webhooks. Libraries exist."),
    "coregit": _("JSON as Coregit sends it, signed with HMAC-SHA256."),
    "code-storage": _("JSON as Code Storage sends it, signed with a timestamp."),
    "sigmagit": _("JSON as Sigmagit sends it, signed with HMAC-SHA256."),
    "social-gateway": _("Requests as SocialGateway sends them; signed if there is a secret."),
    "github": _("Requests as GitHub sends them, header for header; signed if there is a secret."),
    "codmir": _("JSON as codmir sends it, signed with HMAC-SHA256."),
    "slack": _("A message in a Slack channel. Use the URL of an incoming webhook of Slack."),
    "discord": _("A message in a Discord channel. Use the URL of a webhook of Discord."),
    "campfire": _("A message in a Campfire room. Use the URL of a bot of Campfire."),
    "websub": _("The data alone, as WebSub's hubs send it; signed if there is a secret."),
    "mcp-event": _("An event for an agent, as the Model Context Protocol has it, signed as in Standard Webhooks."),
    "cloudevents": _("CloudEvents 1.0: attributes and data together as JSON, signed as in Standard Webhooks."),
    "cloudevents-binary": _("CloudEvents 1.0: the attributes as headers, the data as the body, signed likewise."),
}


def explanation_of(slug: str) -> str:
    """Return what a wire format is good for; nothing for one that this version does not know."""
    return str(EXPLANATIONS.get(slug, ""))

"""The registry of wire formats. To add one: a module in this package, a line below, and a folder of golden files."""

from deliveries.formats.base import Format, Message, Rendered
from deliveries.formats.campfire import Campfire
from deliveries.formats.cloudevents import CloudEvents
from deliveries.formats.cloudevents_binary import CloudEventsBinary
from deliveries.formats.code_storage import CodeStorage
from deliveries.formats.codmir import Codmir
from deliveries.formats.coregit import Coregit
from deliveries.formats.discord import Discord
from deliveries.formats.github import GitHub
from deliveries.formats.masking import MASK
from deliveries.formats.mcp_event import McpEvent
from deliveries.formats.policies import Policy, SecretPolicy
from deliveries.formats.sigmagit import Sigmagit
from deliveries.formats.slack import Slack
from deliveries.formats.social_gateway import SocialGateway
from deliveries.formats.standard_webhooks import StandardWebhooks
from deliveries.formats.unknown import Unknown
from deliveries.formats.websub import WebSub

__all__ = [
    "DEFAULT",
    "FORMATS",
    "MASK",
    "Format",
    "Message",
    "Policy",
    "Rendered",
    "SecretPolicy",
    "choices",
    "format_of",
]

DEFAULT = StandardWebhooks.slug

FORMATS: dict[str, Format] = {
    wire_format.slug: wire_format
    for wire_format in (
        StandardWebhooks(),
        Coregit(),
        CodeStorage(),
        Sigmagit(),
        SocialGateway(),
        GitHub(),
        Codmir(),
        Slack(),
        Discord(),
        Campfire(),
        WebSub(),
        McpEvent(),
        CloudEvents(),
        CloudEventsBinary(),
    )
}


def format_of(slug: str) -> Format:
    """Return the format with this slug, or an Unknown placeholder if this version does not know it."""
    return FORMATS.get(slug) or Unknown(slug)


def choices() -> list[tuple[str, str]]:
    """Return (slug, title) of every format, for model fields and forms."""
    return [(slug, wire_format.title) for slug, wire_format in FORMATS.items()]

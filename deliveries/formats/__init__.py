"""The registry of wire formats: a new one is a file beside this, a line below, and a folder of golden bytes."""

from deliveries.formats.base import MASK, Format, Message, Policy, Rendered
from deliveries.formats.campfire import Campfire
from deliveries.formats.code_storage import CodeStorage
from deliveries.formats.codmir import Codmir
from deliveries.formats.coregit import Coregit
from deliveries.formats.discord import Discord
from deliveries.formats.github import GitHub
from deliveries.formats.sigmagit import Sigmagit
from deliveries.formats.slack import Slack
from deliveries.formats.social_gateway import SocialGateway
from deliveries.formats.standard_webhooks import StandardWebhooks
from deliveries.formats.unknown import Unknown

__all__ = ["DEFAULT", "FORMATS", "MASK", "Format", "Message", "Policy", "Rendered", "choices", "format_of"]

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
    )
}


def format_of(slug: str) -> Format:
    """Give the format that a webhook has, or what stands for one that this version does not know."""
    return FORMATS.get(slug) or Unknown(slug)


def choices() -> list[tuple[str, str]]:
    """Give (slug, title) of every format, for model fields and forms."""
    return [(slug, wire_format.title) for slug, wire_format in FORMATS.items()]

"""Chooses the wire format of a webhook by its URL: Slack and Discord accept no other than their own."""

from urllib.parse import urlsplit

from hookhub.http.refusals import invalid

OWN, SLACK, DISCORD = "sigmagit", "slack", "discord"

SLACK_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
DISCORD_HOSTS = frozenset(
    {
        "discord.com", "ptb.discord.com", "canary.discord.com",
        "discordapp.com", "ptb.discordapp.com", "canary.discordapp.com",
    }
)  # fmt: skip


def format_for(url: object) -> str:
    """Return the format that the receiver at ``url`` accepts; an invalid URL is left to later validation.

    Raise a 422 for Discord's URLs that accept the messages of other systems.
    """
    if not isinstance(url, str):
        return OWN
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removesuffix(".")
    except ValueError:
        return OWN
    steps = [step for step in parts.path.split("/") if step]
    if host in SLACK_HOSTS and steps[:1] == ["services"]:
        return SLACK
    if host in DISCORD_HOSTS and steps[:1] == ["api"] and "webhooks" in steps[1:3]:
        if steps[-1] in {"slack", "github"}:
            raise invalid({"url": f"must not end in /{steps[-1]}: HookHub sends messages in Discord's own format"})
        return DISCORD
    return OWN

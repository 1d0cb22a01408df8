"""Which wire format a URL given to Sigmagit calls for: Slack and Discord understand their own only."""

from urllib.parse import urlsplit

SLACK_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
DISCORD_HOSTS = frozenset(
    {
        "discord.com", "ptb.discord.com", "canary.discord.com",
        "discordapp.com", "ptb.discordapp.com", "canary.discordapp.com",
    }
)  # fmt: skip


def format_for(url: object) -> str:
    """Give the format that the receiver at ``url`` understands; what is no URL at all is for others to refuse."""
    if not isinstance(url, str):
        return "sigmagit"
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").removesuffix(".")
    except ValueError:
        return "sigmagit"
    steps = parts.path.split("/")
    if host in SLACK_HOSTS and steps[1:2] == ["services"]:
        return "slack"
    if host in DISCORD_HOSTS and steps[1:2] == ["api"] and "webhooks" in steps[2:4]:
        # Discord takes Slack's messages too, and GitHub's, under the same address with a word more.
        return {"slack": "slack", "github": "github"}.get(steps[-1], "discord")
    return "sigmagit"

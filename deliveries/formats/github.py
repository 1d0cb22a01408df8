"""GitHub's wire format, header for header, so that receivers written for GitHub accept it."""

from deliveries.formats import github_family
from deliveries.formats.base import Format, Message, Rendered
from deliveries.formats.policies import SecretPolicy


class GitHub(Format):
    """Like GitHub, it sends the ids of the webhook and of the repository or organization it belongs to."""

    slug = "github"
    title = "GitHub"
    content_types = github_family.CONTENT_TYPES
    reserved_headers = github_family.SIGNATURES | {
        "accept", "content-type", "user-agent", "x-github-delivery", "x-github-event", "x-github-hook-id",
        "x-github-hook-installation-target-id", "x-github-hook-installation-target-type",
    }  # fmt: skip
    header_notes = github_family.NOTES | {
        "X-GitHub-Delivery": github_family.DELIVERY_NOTE,
        "X-GitHub-Event": github_family.EVENT_NOTE,
        "X-GitHub-Hook-ID": "Number of the webhook.",
        "X-GitHub-Hook-Installation-Target-ID": "Number of the repository or organization that the webhook belongs to.",
        "X-GitHub-Hook-Installation-Target-Type": "`repository` or `organization`.",
    }
    secret_policy = SecretPolicy.OPTIONAL

    def render(self, message: Message) -> Rendered:
        content_type, body = github_family.encode(message)
        return Rendered(
            headers=(
                ("Accept", "*/*"),
                content_type,
                # Receivers recognize GitHub by the part before the slash.
                ("User-Agent", "GitHub-Hookshot/hookhub"),
                ("X-GitHub-Delivery", message.delivery_id),
                ("X-GitHub-Event", github_family.family_of(message.event_type)),
                ("X-GitHub-Hook-ID", str(message.webhook_number)),
                ("X-GitHub-Hook-Installation-Target-ID", str(message.scope_number)),
                ("X-GitHub-Hook-Installation-Target-Type", message.scope),
                *github_family.sign(message, body),
            ),
            body=body,
        )

    def secret_error(self, secret: str) -> str | None:
        return github_family.secret_error(secret)

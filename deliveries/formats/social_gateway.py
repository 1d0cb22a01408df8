"""SocialGateway's wire format: the payload as the body or as a form field, signed if the webhook has a secret."""

from deliveries.formats import github_family
from deliveries.formats.base import Format, Message, Rendered
from deliveries.formats.policies import SecretPolicy


class SocialGateway(Format):
    """An exact clone of GitHub's first webhooks, with different header names."""

    slug = "social-gateway"
    title = "SocialGateway"
    content_types = github_family.CONTENT_TYPES
    reserved_headers = github_family.SIGNATURES | {
        "content-type",
        "user-agent",
        "x-socialgateway-event",
        "x-socialgateway-delivery",
    }
    header_notes = github_family.NOTES | {
        "X-SocialGateway-Event": github_family.EVENT_NOTE,
        "X-SocialGateway-Delivery": github_family.DELIVERY_NOTE,
    }
    secret_policy = SecretPolicy.OPTIONAL

    def render(self, message: Message) -> Rendered:
        content_type, body = github_family.encode(message)
        return Rendered(
            headers=(
                content_type,
                ("User-Agent", "SocialGateway-Webhook/1.0"),
                ("X-SocialGateway-Event", github_family.family_of(message.event_type)),
                ("X-SocialGateway-Delivery", message.delivery_id),
                *github_family.sign(message, body),
            ),
            body=body,
        )

    def secret_error(self, secret: str) -> str | None:
        return github_family.secret_error(secret)

"""SocialGateway's wire format: the payload as the body or as a form field, signed if the webhook has a secret."""

from deliveries.formats import hub
from deliveries.formats.base import Format, Message, Rendered


class SocialGateway(Format):
    """An exact clone of GitHub's first webhooks, with different header names."""

    slug = "social-gateway"
    title = "SocialGateway"
    content_types = hub.CONTENT_TYPES
    reserved_headers = hub.SIGNATURES | {
        "content-type",
        "user-agent",
        "x-socialgateway-event",
        "x-socialgateway-delivery",
    }
    signs = "if asked"

    def render(self, message: Message) -> Rendered:
        content_type, body = hub.encode(message)
        return Rendered(
            headers=(
                content_type,
                ("User-Agent", "SocialGateway-Webhook/1.0"),
                ("X-SocialGateway-Event", hub.family_of(message.event_type)),
                ("X-SocialGateway-Delivery", message.delivery_id),
                *hub.sign(message, body),
            ),
            body=body,
        )

    def fault_in_secret(self, secret: str) -> str | None:
        return hub.fault_in_secret(secret)

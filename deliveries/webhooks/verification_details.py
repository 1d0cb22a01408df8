"""What the request of a proof carries by default, besides the challenge."""

from urllib.parse import urlsplit

from django.conf import settings

from deliveries.models import Webhook
from deliveries.proofs.handshake import ORIGIN, Handshake
from deliveries.proofs.mcp import SUBSCRIPTION


def details_of(webhook: Webhook, *, proof: str) -> dict[str, str]:
    """Return what the request of a proof carries by default: what is subscribed to, or the name that we go by."""
    if proof == Handshake.slug:
        return {ORIGIN: own_name()}
    match webhook.subscription:
        case {"topic": topic}:
            return {"hub.topic": str(topic)}
        case {"id": subscription_id}:
            return {SUBSCRIPTION: str(subscription_id)}
    return {}


def own_name() -> str:
    """Return the name by which receivers know this deployment; "" if it has none."""
    return urlsplit(settings.HOOKHUB_PUBLIC_URL).hostname or ""

"""SocialGateway: GitHub's REST API v3 for a repository's hooks, so that GitHub's clients work unchanged."""

from hookhub.dialects.base import Dialect
from hookhub.dialects.social_gateway.delivery_ids import number_of
from hookhub.dialects.social_gateway.hook_types import CATALOGUE, WEB_FORMATS
from hookhub.dialects.social_gateway.routes import FIXED, ROUTES

SOCIAL_GATEWAY = Dialect(
    slug="social-gateway",
    title="SocialGateway",
    default_format=WEB_FORMATS[0],
    catalogue=CATALOGUE,
    # The second is what clients of GitHub Enterprise call.
    prefixes=("", "api/v3/"),
    routes=ROUTES,
    fixed=FIXED,
    webhook_id=lambda webhook: str(webhook.pk),
    delivery_id=lambda attempt: str(number_of(attempt.id)),
)

"""SocialGateway: GitHub's REST API v3 for a repository's hooks, so that GitHub's clients work unchanged."""

from hookhub.dialects.base import Dialect
from hookhub.dialects.social_gateway.numbers import number_of
from hookhub.dialects.social_gateway.routes import FIXED, ROUTES
from hookhub.dialects.social_gateway.services import CATALOGUE, WEB_FORMATS

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

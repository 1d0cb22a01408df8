"""What SocialGateway's views have in common: their name and their words for refusals."""

from hookhub.dialects.base import DialectView
from hookhub.dialects.social_gateway.documents import GitHubError
from hookhub.dialects.social_gateway.errors import tell


class SocialGatewayView(DialectView):
    """A view of this dialect."""

    slug = "social-gateway"
    title = "SocialGateway"
    error_serializer = GitHubError
    tell = staticmethod(tell)

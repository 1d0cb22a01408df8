"""The base of SocialGateway's views: their names, error format and rate limit headers."""

from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from hookhub.dialects.base import DialectView
from hookhub.dialects.social_gateway import limits
from hookhub.dialects.social_gateway.errors import render_error
from hookhub.dialects.social_gateway.openapi import GitHubError
from hookhub.http.throttling import standings_of


class SocialGatewayView(DialectView):
    """The base of this dialect's views."""

    slug = "social-gateway"
    title = "SocialGateway"
    error_serializer = GitHubError
    render_error = staticmethod(render_error)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Add the headers by which GitHub's clients learn how many requests are left, if the request was counted."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        standings = standings_of(request)
        if standings is not None:
            row = limits.row_of(standings, now=int(timezone.now().timestamp()))
            for name, value in limits.headers_of(row).items():
                answer.headers[name] = value
        return answer

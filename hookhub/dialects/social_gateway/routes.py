"""SocialGateway's addresses."""

from django.urls import path

from hookhub.dialects.social_gateway.repositories import NowhereView, RepositoryView

ROUTES = (
    path("repos/<str:owner>/<str:repo>", RepositoryView.as_view()),
    # Last: whatever else is asked of a repository is answered in this dialect's words.
    path("repos/<path:rest>", NowhereView.as_view()),
)

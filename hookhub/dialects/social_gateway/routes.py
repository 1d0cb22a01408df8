"""SocialGateway's addresses. Its hub for PubSubHubbub will be at ``hub``, beside these."""

from django.urls import path

from hookhub.dialects.social_gateway.accounts import (
    AccountView,
    GraphQLView,
    OrganizationView,
    RateLimitView,
    RootView,
    UserView,
)  # fmt: skip
from hookhub.dialects.social_gateway.delivering import AttemptsView, DeliveriesView, DeliveryView
from hookhub.dialects.social_gateway.hooks import ConfigView, HooksView, HookView, PingView, ServicesView, TestView
from hookhub.dialects.social_gateway.repositories import NowhereView, RepositoryView

HOOKS = "repos/<str:owner>/<str:repo>/hooks"
HOOK = f"{HOOKS}/<str:webhook>"

# The API's own root, with and without the slash at the end, and GraphQL, where an Enterprise installation has them.
FIXED = (
    path("api/v3", RootView.as_view()),
    path("api/v3/", RootView.as_view()),
    path("api/graphql", GraphQLView.as_view()),
)
ROUTES = (
    path("user", UserView.as_view()),
    path("users/<str:owner>", AccountView.as_view()),
    path("orgs/<str:owner>", OrganizationView.as_view()),
    path("rate_limit", RateLimitView.as_view()),
    path("hooks", ServicesView.as_view()),
    path("repos/<str:owner>/<str:repo>", RepositoryView.as_view()),
    path(HOOKS, HooksView.as_view()),
    path(HOOK, HookView.as_view()),
    path(f"{HOOK}/config", ConfigView.as_view()),
    path(f"{HOOK}/tests", TestView.as_view()),
    # What it was called before, and what `test_url` leads to.
    path(f"{HOOK}/test", TestView.as_view()),
    path(f"{HOOK}/pings", PingView.as_view()),
    path(f"{HOOK}/deliveries", DeliveriesView.as_view()),
    path(f"{HOOK}/deliveries/<str:delivery>", DeliveryView.as_view()),
    path(f"{HOOK}/deliveries/<str:delivery>/attempts", AttemptsView.as_view()),
    # Last: whatever else is asked of a repository is answered in this dialect's words.
    path("repos/<path:rest>", NowhereView.as_view()),
)

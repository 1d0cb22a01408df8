"""SocialGateway's URL patterns. The path ``hub`` is reserved for its PubSubHubbub hub."""

from django.urls import path

from hookhub.dialects.social_gateway.accounts import (
    AccountView,
    GraphQLView,
    OrganizationView,
    RateLimitView,
    RootView,
    UserView,
)
from hookhub.dialects.social_gateway.deliveries import AttemptsView, DeliveriesView, DeliveryView
from hookhub.dialects.social_gateway.hooks import ConfigView, HooksView, HookView, PingView, ServicesView, TestView
from hookhub.dialects.social_gateway.repositories import NowhereView, RepositoryView

HOOKS = "repos/<str:owner>/<str:repo>/hooks"
HOOK = f"{HOOKS}/<str:webhook>"

# The root of the API, with and without a trailing slash, and GraphQL, where GitHub Enterprise has them.
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
    # GitHub's older name of the path, to which `test_url` leads.
    path(f"{HOOK}/test", TestView.as_view()),
    path(f"{HOOK}/pings", PingView.as_view()),
    path(f"{HOOK}/deliveries", DeliveriesView.as_view()),
    path(f"{HOOK}/deliveries/<str:delivery>", DeliveryView.as_view()),
    path(f"{HOOK}/deliveries/<str:delivery>/attempts", AttemptsView.as_view()),
    # Last, so that this dialect answers all other requests about a repository.
    path("repos/<path:rest>", NowhereView.as_view()),
)

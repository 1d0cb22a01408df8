"""SocialGateway's URL patterns."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from hookhub.dialects.social_gateway import accounts, deliveries, hooks
from hookhub.dialects.social_gateway.hub.topics import TopicView
from hookhub.dialects.social_gateway.hub.views import HubView


class TopicOwner(StringConverter):
    """The first part of a topic's address, which is none of those with which other addresses begin."""

    regex = "(?!(?:admin|api|docs|orgs|repos|users|v1)/)[^/]+"


register_converter(TopicOwner, "topic_owner")

HOOKS = "repos/<str:owner>/<str:repo>/hooks"
HOOK = f"{HOOKS}/<str:webhook>"

# The root of the API, with and without a trailing slash, and GraphQL, where GitHub Enterprise has them.
FIXED = (
    path("api/v3", accounts.RootView.as_view()),
    path("api/v3/", accounts.RootView.as_view()),
    path("api/graphql", accounts.GraphQLView.as_view()),
    # Topics have the address of the repository's page at the vendor.
    path("<topic_owner:owner>/<str:repo>/events/<str:event>", TopicView.as_view()),
)
ROUTES = (
    path("user", accounts.UserView.as_view()),
    path("users/<str:owner>", accounts.AccountView.as_view()),
    path("orgs/<str:owner>", accounts.OrganizationView.as_view()),
    path("rate_limit", accounts.RateLimitView.as_view()),
    path("hub", HubView.as_view()),
    path("hooks", hooks.ServicesView.as_view()),
    path("repos/<str:owner>/<str:repo>", accounts.RepositoryView.as_view()),
    path(HOOKS, hooks.HooksView.as_view()),
    path(HOOK, hooks.HookView.as_view()),
    path(f"{HOOK}/config", hooks.ConfigView.as_view()),
    path(f"{HOOK}/tests", hooks.TestView.as_view()),
    # GitHub's older name of the path, to which `test_url` leads.
    path(f"{HOOK}/test", hooks.TestView.as_view()),
    path(f"{HOOK}/pings", hooks.PingView.as_view()),
    path(f"{HOOK}/deliveries", deliveries.DeliveriesView.as_view()),
    path(f"{HOOK}/deliveries/<str:delivery>", deliveries.DeliveryView.as_view()),
    path(f"{HOOK}/deliveries/<str:delivery>/attempts", deliveries.AttemptsView.as_view()),
    # Last, so that this dialect answers all other requests about a repository.
    path("repos/<path:rest>", accounts.NowhereView.as_view()),
)

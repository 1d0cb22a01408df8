"""SocialGateway's addresses. Its hub for PubSubHubbub will be at ``hub``, beside these."""

from django.urls import path

from hookhub.dialects.social_gateway.delivering import AttemptsView, DeliveriesView, DeliveryView
from hookhub.dialects.social_gateway.hooks import ConfigView, HooksView, HookView, PingView, ServicesView, TestView
from hookhub.dialects.social_gateway.repositories import NowhereView, RepositoryView

HOOKS = "repos/<str:owner>/<str:repo>/hooks"
HOOK = f"{HOOKS}/<str:webhook>"

ROUTES = (
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

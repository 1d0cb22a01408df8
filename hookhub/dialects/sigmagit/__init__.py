"""Sigmagit: the webhooks of repositories, under `/api/`."""

from django.urls import path

from hookhub.dialects.base import Dialect
from hookhub.dialects.sigmagit import views

SIGMAGIT = Dialect(
    slug=views.SLUG,
    title=views.TITLE,
    default_format="sigmagit",
    catalogue="sigmagit",
    prefixes=("api/",),
    routes=(
        path("repositories/<str:owner>/<str:repo>/webhooks", views.RepositoryWebhooksView.as_view()),
        path("webhooks/<str:webhook>", views.WebhookView.as_view()),
        path("webhooks/<str:webhook>/deliveries", views.WebhookDeliveriesView.as_view()),
        path("webhooks/<str:webhook>/stats", views.WebhookStatsView.as_view()),
    ),
)

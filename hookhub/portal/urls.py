"""The URL patterns under /portal/."""

from django.urls import path

from hookhub.portal import secret_pages, views, webhook_settings

app_name = "portal"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("enter", views.enter, name="enter"),
    path("leave", views.leave, name="leave"),
    path("webhooks/new", webhook_settings.new, name="new-webhook"),
    path("webhooks/<uuid:uid>", views.webhook, name="webhook"),
    path("webhooks/<uuid:uid>/settings", webhook_settings.edit, name="webhook-settings"),
    path("webhooks/<uuid:uid>/secret", secret_pages.secret, name="secret"),
    path("webhooks/<uuid:uid>/deliveries", views.deliveries, name="deliveries"),
    path("webhooks/<uuid:uid>/redeliver-failed", views.redeliver_failed, name="redeliver-failed"),
    path("replays/<uuid:uid>", views.replay, name="replay"),
    path("deliveries/<uuid:uid>", views.delivery, name="delivery"),
    path("deliveries/<uuid:uid>/redeliver", views.redeliver, name="redeliver"),
]

"""The URL patterns under /portal/."""

from django.urls import path

from hookhub.portal import views

app_name = "portal"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("enter", views.enter, name="enter"),
    path("leave", views.leave, name="leave"),
    path("webhooks/<uuid:uid>", views.webhook, name="webhook"),
    path("webhooks/<uuid:uid>/deliveries", views.deliveries, name="deliveries"),
    path("webhooks/<uuid:uid>/redeliver-failed", views.redeliver_failed, name="redeliver-failed"),
    path("replays/<uuid:uid>", views.replay, name="replay"),
    path("deliveries/<uuid:uid>", views.delivery, name="delivery"),
    path("deliveries/<uuid:uid>/redeliver", views.redeliver, name="redeliver"),
]

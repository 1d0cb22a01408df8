"""The URL patterns under /portal/."""

from django.urls import path, re_path

from hookhub.portal import (
    activity,
    alerts,
    delivery_lists,
    entering,
    event_types,
    look,
    replay_pages,
    secret_pages,
    switching,
    test_events,
    verification,
    views,
    webhook_settings,
)

app_name = "portal"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("enter", entering.enter, name="enter"),
    path("members", entering.members, name="members"),
    path("leave", entering.leave, name="leave"),
    path("webhooks/new", webhook_settings.new, name="new-webhook"),
    path("webhooks/<uuid:uid>", views.webhook, name="webhook"),
    path("webhooks/<uuid:uid>/settings", webhook_settings.edit, name="webhook-settings"),
    path("webhooks/<uuid:uid>/enable", switching.enable, name="enable"),
    path("webhooks/<uuid:uid>/disable", switching.disable, name="disable"),
    path("webhooks/<uuid:uid>/delete", switching.delete, name="delete"),
    path("webhooks/<uuid:uid>/test", test_events.test, name="test"),
    path("webhooks/<uuid:uid>/secret", secret_pages.secret, name="secret"),
    path("webhooks/<uuid:uid>/verification", verification.verification, name="verification"),
    path("webhooks/<uuid:uid>/deliveries", delivery_lists.of_webhook, name="deliveries"),
    path("webhooks/<uuid:uid>/redeliver-failed", replay_pages.redeliver_failed, name="redeliver-failed"),
    path("webhooks/<uuid:uid>/never-sent", replay_pages.never_sent, name="never-sent"),
    path("replays/<uuid:uid>", replay_pages.replay, name="replay"),
    path("replays/<uuid:uid>/cancel", replay_pages.cancel, name="cancel-replay"),
    path("deliveries", delivery_lists.of_session, name="all-deliveries"),
    path("deliveries/redeliver", delivery_lists.redeliver_selected, name="redeliver-selected"),
    path("deliveries/<uuid:uid>", views.delivery, name="delivery"),
    path("deliveries/<uuid:uid>/redeliver", views.redeliver, name="redeliver"),
    path("event-types", event_types.event_types, name="event-types"),
    path("event-types/<str:name>", event_types.event_type, name="event-type"),
    path("activity", activity.activity, name="activity"),
    path("look", look.look, name="look"),
    path("alerts", alerts.alerts, name="alerts"),
    path("alerts/new", alerts.new, name="alert-channel-new"),
    path("alert-channels/<uuid:uid>", alerts.edit, name="alert-channel"),
    path("alert-channels/<uuid:uid>/test", alerts.test, name="alert-channel-test"),
    path("alert-channels/<uuid:uid>/secret", alerts.rotate, name="alert-channel-secret"),
    path("alert-channels/<uuid:uid>/delete", alerts.delete, name="alert-channel-delete"),
    # Behind all others: a person gets a page, not the API's JSON.
    re_path(r"^.*$", entering.unknown),
]

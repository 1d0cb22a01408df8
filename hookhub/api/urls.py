"""The URL patterns under /v1/."""

from django.urls import include, path
from drf_spectacular.views import SpectacularSwaggerSplitView

from hookhub.api import (
    alerts,
    audit,
    deliveries,
    event_types,
    events,
    keys,
    meta,
    missing,
    organizations,
    portal,
    portal_settings,
    test_events,
    timeseries,
    webhooks,
)
from hookhub.http.negotiation import OneFormat

urlpatterns = [
    path("", meta.RootView.as_view(), name="root"),
    path("meta", meta.MetaView.as_view(), name="meta"),
    path("event-types", event_types.EventTypesView.as_view(), name="event-types"),
    path("event-types/<str:name>", event_types.EventTypeView.as_view()),
    # The login for the browsable API; the admin's own login is for staff.
    path("auth/", include("rest_framework.urls")),
    path("openapi.json", meta.DocumentView.as_view(), name="openapi"),
    path(
        "docs",
        SpectacularSwaggerSplitView.as_view(
            url_name="openapi", http_method_names=["get", "head"], content_negotiation_class=OneFormat
        ),
        name="docs",
    ),
    path("audit", audit.AuditView.as_view(), name="audit"),
    path("organizations", organizations.OrganizationsView.as_view(), name="organizations"),
    path("organizations/<str:slug>", organizations.OrganizationView.as_view()),
    path("organizations/<str:slug>/portal", portal_settings.PortalSettingsView.as_view()),
    path("organizations/<str:slug>/timeseries", timeseries.OrganizationTimeseriesView.as_view()),
    path("api-keys", keys.ApiKeysView.as_view(), name="api-keys"),
    path("api-keys/<str:key_id>", keys.ApiKeyView.as_view()),
    path("api-keys/<str:key_id>/roll", keys.RollView.as_view()),
    path("alert-channels", alerts.AlertChannelsView.as_view(), name="alert-channels"),
    path("alert-channels/<str:uid>", alerts.AlertChannelView.as_view()),
    path("alert-channels/<str:uid>/test", alerts.AlertChannelTestView.as_view()),
    path("alerts", alerts.AlertsView.as_view(), name="alerts"),
    path("alerts/<str:uid>", alerts.AlertView.as_view()),
    path("portal-sessions", portal.PortalSessionsView.as_view(), name="portal-sessions"),
    path("portal-sessions/<str:uid>", portal.PortalSessionView.as_view()),
    path("repositories", organizations.RepositoriesView.as_view(), name="repositories"),
    path("repositories/<str:name>", organizations.RepositoryView.as_view()),
    path("webhooks", webhooks.WebhooksView.as_view(), name="webhooks"),
    path("webhooks/<str:uid>", webhooks.WebhookView.as_view()),
    path("webhooks/<str:uid>/headers", webhooks.HeadersView.as_view()),
    path("webhooks/<str:uid>/enable", webhooks.EnableView.as_view()),
    path("webhooks/<str:uid>/disable", webhooks.DisableView.as_view()),
    path("webhooks/<str:uid>/rotate-secret", webhooks.RotateSecretView.as_view()),
    path("webhooks/<str:uid>/verify", webhooks.VerifyView.as_view()),
    path("webhooks/<str:uid>/ping", test_events.PingView.as_view()),
    path("webhooks/<str:uid>/test", test_events.TestView.as_view()),
    path("webhooks/<str:uid>/replay-missing", missing.ReplayMissingView.as_view()),
    path("webhooks/<str:uid>/stats", webhooks.StatsView.as_view()),
    path("webhooks/<str:uid>/timeseries", timeseries.WebhookTimeseriesView.as_view()),
    path("events", events.EventsView.as_view(), name="events"),
    path("events/validate", events.ValidateView.as_view()),
    path("events/<str:uid>", events.EventView.as_view()),
    path("deliveries", deliveries.DeliveriesView.as_view(), name="deliveries"),
    path("deliveries/<str:uid>", deliveries.DeliveryView.as_view()),
    path("deliveries/<str:uid>/redeliver", deliveries.RedeliverView.as_view()),
    path("deliveries/<str:uid>/cancel", deliveries.CancelView.as_view()),
    path("replays", deliveries.ReplaysView.as_view(), name="replays"),
    path("replays/<str:uid>", deliveries.ReplayView.as_view()),
    path("replays/<str:uid>/cancel", deliveries.CancelReplayView.as_view()),
]

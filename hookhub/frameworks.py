"""The configuration of Django, its REST framework and the OpenAPI document, as far as no variable changes it."""

from typing import Any

INSTALLED_APPS = [
    # Before those whose templates and commands it replaces.
    "hookhub.service",
    "deliveries",
    "hookhub",
    # hookhub.service.urls registers the pages, so that workers and commands do not import them.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "hookhub.middleware.answer_health_checks",
    "hookhub.http.access_log.identify",
    "hookhub.middleware.carry_traces",
    "hookhub.middleware.require_a_served_host",
    "hookhub.middleware.show_pages_to_people",
    "hookhub.middleware.limit_addresses",
    "hookhub.middleware.refuse_unreadable",
    "hookhub.middleware.accept_events",
    "hookhub.middleware.end_loops",
    "django.middleware.security.SecurityMiddleware",
    "hookhub.http.security_headers.protect_pages",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "hookhub.http.security_headers.end_sessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "hookhub.middleware.name_the_actor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "hookhub.admin.logins.LimitLogins",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "hookhub.service.urls"
WSGI_APPLICATION = "hookhub.service.wsgi.application"
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
# The portal speaks them; all other pages are English.
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
STATIC_URL = "/static/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "hookhub.server.prefix.PrefixedStaticFiles"},
}
# Static files are served directly from the packages, so that no collectstatic step is needed.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
# Some messages show a new key or secret, which must not be stored in a cookie.
MESSAGE_STORAGE = "hookhub.admin.sealed_messages.SealedSessionStorage"
LOGIN_URL = "rest_framework:login"
LOGIN_REDIRECT_URL = "root"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# No endpoint accepts file uploads, so none is ever written to disk.
FILE_UPLOAD_HANDLERS: list[str] = []

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "hookhub.http.authentication.KeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": ["hookhub.http.parsers.StrictJSONParser"],
    "DEFAULT_THROTTLE_CLASSES": ["hookhub.http.throttling.RequestRate"],
    "DEFAULT_PAGINATION_CLASS": "hookhub.http.pagination.Cursor",
    "DEFAULT_SCHEMA_CLASS": "hookhub.api.openapi.ApiSchema",
    "EXCEPTION_HANDLER": "hookhub.http.errors.answer",
    "UNAUTHENTICATED_USER": None,
    # Payloads may contain lone surrogates, which JSON can escape but UTF-8 cannot encode.
    "UNICODE_JSON": False,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "HookHub",
    "DEFAULT_GENERATOR_CLASS": "hookhub.http.openapi.Generator",
    "DESCRIPTION": "Publish events, manage webhooks, read the delivery log.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/v1",
    "LICENSE": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
    "OAS_VERSION": "3.1.1",
    # In this order they, and the operations, are listed.
    "TAGS": [
        {"name": "events", "description": "Publish events, and read those that were published."},
        {"name": "event-types", "description": "What events there are: catalogues, JSON Schemas, examples."},
        {"name": "webhooks", "description": "Subscriptions of URLs to event types: secrets, tests, statistics."},
        {"name": "deliveries", "description": "The delivery log: attempts, redelivery, cancelling."},
        {"name": "replays", "description": "Redelivery of many deliveries, in the background."},
        {"name": "repositories", "description": "The subjects of most events."},
        {"name": "organizations", "description": "The tenants of this deployment, and their settings."},
        {"name": "api-keys", "description": "The keys with which programs authenticate."},
        {"name": "portal-sessions", "description": "Links to the portal, for the owners of webhooks."},
        {"name": "alert-channels", "description": "Who is told when a webhook fails, and how."},
        {"name": "alerts", "description": "What was told, and what became of it."},
        {"name": "audit", "description": "The audit log: who changed what."},
        {"name": "meta", "description": "The version and configuration of this deployment."},
        {"name": "MCP", "description": "The Model Context Protocol: agents subscribe to events, and look at them."},
        {"name": "Sigmagit", "description": "Sigmagit's API for repository webhooks, for its clients."},
        {
            "name": "SocialGateway",
            "description": "GitHub's API for repository webhooks and its hub, for its clients; also under /api/v3, "
            "where GitHub Enterprise has it.",
        },
    ],
    # Otherwise it would forget that an enumeration may be null; corrections writes both as it should.
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": True,
    "ENUM_NAME_OVERRIDES": {
        "DeliveryState": "deliveries.models.Delivery.State",
        "DeliveryFinishReason": "deliveries.models.Delivery.FinishReason",
        "ReplayState": "hookhub.models.Replay.State",
        "Format": "deliveries.formats.choices",
        "AttemptCause": "deliveries.policy.outcomes.CAUSES",
        "AttemptOutcome": "deliveries.models.Attempt.Outcome",
        "KeyScope": "hookhub.models.Scope",
        "DisabledReason": "deliveries.models.Webhook.DisabledReason",
        "WebhookKind": "deliveries.models.Webhook.Kind",
        "WebhookStatus": "deliveries.models.Webhook.Status",
        # Of a hook's last response, in GitHub's form.
        "StatusEnum": ["unused", "active", "failed"],
        "VerificationState": "deliveries.models.Verification.State",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "hookhub.descriptions.corrections.write_null_as_a_type",
        "hookhub.descriptions.corrections.drop_choices_of_nothing",
        "hookhub.descriptions.corrections.require_what_responses_have",
        "hookhub.descriptions.receivers.describe_receivers",
        "hookhub.descriptions.layout.share_responses",
        "hookhub.descriptions.examples.add_examples",
        "hookhub.descriptions.corrections.drop_unused_components",
        "hookhub.descriptions.corrections.state_restrictions",
        "hookhub.descriptions.names.rename_schemas",
        "hookhub.descriptions.layout.sort_operations",
    ],
}


def openapi_settings(public_url: str) -> dict[str, Any]:
    """Return the settings of the OpenAPI document for a deployment at this URL, or at this path."""
    contact = {"CONTACT": {"name": "The operator of this deployment", "url": public_url}}
    return {
        **SPECTACULAR_SETTINGS,
        "SERVERS": [{"url": public_url, "description": "This deployment"}],
        **(contact if public_url.startswith("http") else {}),
    }

"""All settings of HookHub, read from environment variables, with defaults that work out of the box."""

import secrets as random
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from deliveries import defaults
from hookhub import frameworks
from hookhub.embedded import servers
from hookhub.frameworks import *
from hookhub.service import sso
from hookhub.service.celery_settings import *
from hookhub.service.connections import (
    broker,
    broker_tls,
    database,
    direct_database,
    pooling,
    served_by_default,
    stream,
)
from hookhub.service.environment import (
    HOST_NAMES,
    MAKE_ENCRYPTION_KEY,
    MAKE_KEY,
    MAX_PORT,
    addresses,
    contacts,
    days,
    encryption_keys,
    flag,
    host_names,
    level,
    make_encryption_key,
    networks,
    one_of,
    origins,
    public_url,
    read,
    readable,
    seconds,
    secret,
    sentry_dsn,
    served_hosts,
    text,
    url,
    waits,
    whole,
    words,
)
from hookhub.service.logging_settings import logging_settings

# Deployment ---------------------------------------------------------------------------------------------------------

EMBEDDED_DATABASE = not text("DATABASE_URL")
EMBEDDED_REDIS = not text("REDIS_URL")
DATABASE_URL = text("DATABASE_URL") or servers.database_url(servers.home())
REDIS_URL = text("REDIS_URL") or servers.redis_url(servers.home())

# Development mode allows receivers on this machine and generates the secrets. It is the default without a DATABASE_URL,
# which a production deployment sets.
HOOKHUB_DEVELOPMENT = flag("HOOKHUB_DEVELOPMENT", default=EMBEDDED_DATABASE)

GENERATED = servers.home() if HOOKHUB_DEVELOPMENT else None

SECRET_KEY = secret("HOOKHUB_SECRET_KEY", partial(random.token_urlsafe, 50), MAKE_KEY, home=GENERATED)
# The first key encrypts, all of them decrypt. To rotate, prepend a new key, then run `manage.py reencrypt_secrets`.
HOOKHUB_ENCRYPTION_KEYS = encryption_keys(
    secret("HOOKHUB_ENCRYPTION_KEYS", make_encryption_key, MAKE_ENCRYPTION_KEY, home=GENERATED)
)
DEBUG = flag("HOOKHUB_DEBUG", default=False)
CSRF_TRUSTED_ORIGINS = list(
    read("HOOKHUB_TRUSTED_ORIGINS", origins, (), expects="origins such as https://hooks.example.org")
)
CSRF_FAILURE_VIEW = "hookhub.http.errors.csrf_failure"
HOOKHUB_PUBLIC_URL = read(
    "HOOKHUB_PUBLIC_URL", public_url, defaults.PUBLIC_URL_OF_THE_SERVICE, expects="a URL such as https://example.org"
)
# The port of the web server. A webhook to it could cause a loop, by publishing the events it is sent.
HOOKHUB_PORT = whole("PORT", defaults.HOOKHUB_PORT, most=MAX_PORT)
# If the public URL has a path, everything is served under it; otherwise the web server may set SCRIPT_NAME.
FORCE_SCRIPT_NAME = urlsplit(HOOKHUB_PUBLIC_URL).path or None

ALLOWED_HOSTS = list(
    read("HOOKHUB_SERVED_HOSTS", served_hosts, served_by_default(HOOKHUB_PUBLIC_URL), expects="names of hosts")
)
# Hosts of the hub's topics besides those served here. Clients name a topic by its page at the vendor, which is not the
# host of the API, and some cannot be configured.
HOOKHUB_TOPIC_HOSTS = read("HOOKHUB_TOPIC_HOSTS", host_names, defaults.HOOKHUB_TOPIC_HOSTS, expects=HOST_NAMES)
HOOKHUB_BEHIND_TLS_PROXY = flag("HOOKHUB_BEHIND_TLS_PROXY", default=False)
if HOOKHUB_BEHIND_TLS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    # With this prefix browsers accept the cookies only from this host, not from a sibling domain.
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
    HOOKHUB_DEVICE_COOKIE, HOOKHUB_PORTAL_COOKIE = "__Host-device", "__Host-portal"
    SECURE_HSTS_SECONDS = 31_536_000
    # The proxy redirects browsers to https; a program that sent its key over http should get an error, not a redirect
    # (W008). Whether HSTS may cover subdomains and be preloaded (W005, W021) is not for HookHub to decide.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
else:
    HOOKHUB_DEVICE_COOKIE, HOOKHUB_PORTAL_COOKIE = defaults.HOOKHUB_DEVICE_COOKIE, defaults.HOOKHUB_PORTAL_COOKIE
SESSION_COOKIE_AGE = whole("HOOKHUB_SESSION_AGE", 43_200, least=60)
HOOKHUB_SESSION_IDLE = seconds("HOOKHUB_SESSION_IDLE")
CSRF_COOKIE_HTTPONLY = False  # The browsable API reads it.
CSRF_COOKIE_SAMESITE = SESSION_COOKIE_SAMESITE = "Lax"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# The proxies whose X-Forwarded-For is trusted. By default, behind a TLS proxy, those in private networks.
PRIVATE = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7"
HOOKHUB_TRUSTED_PROXIES = read(
    "HOOKHUB_TRUSTED_PROXIES",
    networks,
    networks(PRIVATE) if HOOKHUB_BEHIND_TLS_PROXY else defaults.HOOKHUB_TRUSTED_PROXIES,
    expects="a comma-separated list of networks such as 10.1.0.0/16",
)

# Database -----------------------------------------------------------------------------------------------------------

DATABASES = {
    "default": database(
        DATABASE_URL,
        statement_timeout=whole("HOOKHUB_STATEMENT_TIMEOUT_MS", 30_000),
        # Unless it is set, each connection finds out.
        is_pooled=read("HOOKHUB_PGBOUNCER", pooling, None, expects="transaction or session"),
    ),
}
# PostgreSQL without the pooler. Web servers listen here for changes, which a pooler in transaction mode cannot forward.
HOOKHUB_DIRECT_DATABASE_URL = direct_database(text("HOOKHUB_DIRECT_DATABASE_URL"))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The engine ---------------------------------------------------------------------------------------------------------

# The waits after the first, second, … failed attempt of a delivery.
HOOKHUB_RETRY_SCHEDULE: tuple[timedelta, ...] = read(
    "HOOKHUB_RETRY_SCHEDULE", waits, defaults.HOOKHUB_RETRY_SCHEDULE, expects="a comma-separated list of seconds"
)
# The total timeout of one attempt: DNS lookup, connection, request and response together.
HOOKHUB_TIMEOUT = seconds("HOOKHUB_TIMEOUT")
# How long a claimed delivery belongs to its worker; after that another worker may claim it.
HOOKHUB_LEASE = seconds("HOOKHUB_LEASE")
# The processes of a worker that send.
HOOKHUB_WORKER_PROCESSES = whole("HOOKHUB_WORKER_PROCESSES", least=1, most=1024)
# The maximum number of requests in flight: per worker process, and per webhook over all processes.
HOOKHUB_SLOTS = whole("HOOKHUB_SLOTS", least=1, most=MAX_PORT)
HOOKHUB_MAX_IN_FLIGHT = whole("HOOKHUB_MAX_IN_FLIGHT", least=1)
# Disables a webhook after this many failed attempts in a row. With 0, only an exhausted retry schedule or a response
# such as 410 disables one.
HOOKHUB_DISABLE_AFTER_FAILURES = whole("HOOKHUB_DISABLE_AFTER_FAILURES")
HOOKHUB_PAYLOAD_LIMIT = whole("HOOKHUB_PAYLOAD_LIMIT", least=1)
HOOKHUB_REQUEST_LIMIT = whole("HOOKHUB_REQUEST_LIMIT", least=1)
# The maximum time to receive a request's body, and the minimum rate in bytes per second.
HOOKHUB_BODY_TIMEOUT = seconds("HOOKHUB_BODY_TIMEOUT")
HOOKHUB_BODY_MIN_RATE = whole("HOOKHUB_BODY_MIN_RATE", least=1)
# The Procfile gives these to the web server; a wrong one is an error here, which names it.
WEB_WORKERS = whole("WEB_WORKERS", 2, least=1, most=1024)
WEB_IDLE_TIMEOUT = whole("WEB_IDLE_TIMEOUT", 30, least=1)
# The threads that handle requests in one web process, and how many fully received requests may wait for one.
WEB_THREADS = whole("WEB_THREADS", 4, least=1, most=1024)
HOOKHUB_WEB_QUEUE = whole("HOOKHUB_WEB_QUEUE", least=1)
# How many bytes of a response body to store; the minimum is enough for a format to classify a response.
HOOKHUB_RESPONSE_KEPT = whole("HOOKHUB_RESPONSE_KEPT", least=64)
HOOKHUB_RETENTION = days("HOOKHUB_RETENTION_DAYS", defaults.HOOKHUB_RETENTION)
HOOKHUB_AUDIT_RETENTION = days("HOOKHUB_AUDIT_RETENTION_DAYS", defaults.HOOKHUB_AUDIT_RETENTION)
# Rate limits per minute, in requests and in events; 0 is no limit. An organization may have its own limits.
HOOKHUB_REQUESTS_PER_ADDRESS = whole("HOOKHUB_REQUESTS_PER_ADDRESS")
HOOKHUB_REQUESTS_PER_KEY = whole("HOOKHUB_REQUESTS_PER_KEY")
HOOKHUB_REQUESTS_PER_ORGANIZATION = whole("HOOKHUB_REQUESTS_PER_ORGANIZATION")
HOOKHUB_EVENTS_PER_KEY = whole("HOOKHUB_EVENTS_PER_KEY")
HOOKHUB_EVENTS_PER_ORGANIZATION = whole("HOOKHUB_EVENTS_PER_ORGANIZATION")
# Failed logins per five minutes.
HOOKHUB_LOGINS_PER_ADDRESS = whole("HOOKHUB_LOGINS_PER_ADDRESS")
HOOKHUB_LOGINS_PER_NAME = whole("HOOKHUB_LOGINS_PER_NAME")
HOOKHUB_TEST_EVENTS = whole("HOOKHUB_TEST_EVENTS")
HOOKHUB_WEBHOOK_CHANGES = whole("HOOKHUB_WEBHOOK_CHANGES")
HOOKHUB_WEBHOOKS_PER_ORGANIZATION = whole("HOOKHUB_WEBHOOKS_PER_ORGANIZATION")
# Subscriptions at the hub, which anybody may ask for: the requests per minute of a client and for a callback's host,
# how many there may be to an organization's topics, and how long one lasts.
HOOKHUB_HUB_ANONYMOUS = flag("HOOKHUB_HUB_ANONYMOUS")
HOOKHUB_HUB_REQUESTS_PER_ADDRESS = whole("HOOKHUB_HUB_REQUESTS_PER_ADDRESS")
HOOKHUB_HUB_REQUESTS_PER_HOST = whole("HOOKHUB_HUB_REQUESTS_PER_HOST")
HOOKHUB_HUB_SUBSCRIPTIONS = whole("HOOKHUB_HUB_SUBSCRIPTIONS")
HOOKHUB_MCP_SUBSCRIPTIONS = whole("HOOKHUB_MCP_SUBSCRIPTIONS")
HOOKHUB_HUB_LEASE = seconds("HOOKHUB_HUB_LEASE")
HOOKHUB_HUB_MIN_LEASE = seconds("HOOKHUB_HUB_MIN_LEASE")
HOOKHUB_HUB_MAX_LEASE = seconds("HOOKHUB_HUB_MAX_LEASE")
HOOKHUB_WEBHOOKS_PER_URL = whole("HOOKHUB_WEBHOOKS_PER_URL")
HOOKHUB_WEBHOOKS_PER_HOST = whole("HOOKHUB_WEBHOOKS_PER_HOST")
# How often an event may be published again because of its own delivery. With k webhooks that lead back to HookHub, one
# event becomes at most k to the power of this number.
HOOKHUB_MAX_HOPS = whole("HOOKHUB_MAX_HOPS")
# This deployment's id in the HookHub-Hops header: the same on every host, without revealing the key.
HOOKHUB_DEPLOYMENT_ID = defaults.deployment_id(SECRET_KEY)
HOOKHUB_SECRET_OVERLAP = seconds("HOOKHUB_SECRET_OVERLAP")
HOOKHUB_WEBHOOK_EXPIRY_WARNING = days("HOOKHUB_WEBHOOK_EXPIRY_WARNING_DAYS", defaults.HOOKHUB_WEBHOOK_EXPIRY_WARNING)
HOOKHUB_KEY_EXPIRY_WARNING = days("HOOKHUB_KEY_EXPIRY_WARNING_DAYS", defaults.HOOKHUB_KEY_EXPIRY_WARNING)
# Where to report a vulnerability, as one or several mailto:, https: or tel: URIs; if empty, no security.txt is served.
HOOKHUB_SECURITY_CONTACT: tuple[str, ...] = read(
    "HOOKHUB_SECURITY_CONTACT",
    contacts,
    defaults.HOOKHUB_SECURITY_CONTACT,
    expects="a comma-separated list of mailto:, https: or tel: URIs",
)

# A webhook may set a longer timeout than the default, but never one that exceeds the lease.
HOOKHUB_MAX_TIMEOUT = defaults.max_timeout(timeout=HOOKHUB_TIMEOUT, lease=HOOKHUB_LEASE)

# Receivers ----------------------------------------------------------------------------------------------------------

HOOKHUB_ALLOWED_NETWORKS: tuple[IPv4Network | IPv6Network, ...] = read(
    "HOOKHUB_ALLOWED_NETWORKS",
    networks,
    defaults.HOOKHUB_ALLOWED_NETWORKS,
    expects="a comma-separated list of networks such as 10.1.0.0/16",
)
HOOKHUB_ALLOWED_HOSTS = frozenset(read("HOOKHUB_ALLOWED_HOSTS", host_names, (), expects=HOST_NAMES))
HOOKHUB_HTTPS_ONLY = flag("HOOKHUB_HTTPS_ONLY")
HOOKHUB_REQUIRE_TLS_VERIFICATION = flag("HOOKHUB_REQUIRE_TLS_VERIFICATION")
# The CA bundle for verifying receivers; if empty, the system's, or certifi's if the system has none.
HOOKHUB_CA_BUNDLE = read("HOOKHUB_CA_BUNDLE", readable, defaults.HOOKHUB_CA_BUNDLE, expects="a file")

# The addresses this deployment sends from, published at /v1/meta so that receivers can allow them in their firewalls.
HOOKHUB_SOURCE_ADDRESSES: tuple[str, ...] = read(
    "HOOKHUB_SOURCE_ADDRESSES",
    addresses,
    defaults.HOOKHUB_SOURCE_ADDRESSES,
    expects="a comma-separated list of addresses and networks such as 192.0.2.7, 2001:db8::/32",
)

# Celery -------------------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = broker(REDIS_URL)
CELERY_BROKER_USE_SSL = broker_tls(REDIS_URL)
# The name of the queue. Two deployments that share one Redis need different ones.
HOOKHUB_QUEUE = text("HOOKHUB_QUEUE", defaults.HOOKHUB_QUEUE)
CELERY_TASK_DEFAULT_QUEUE = HOOKHUB_QUEUE
CELERY_WORKER_CONCURRENCY = HOOKHUB_WORKER_PROCESSES

# Derived from the queue's name, so that two deployments on one Redis differ in a single setting.
HOOKHUB_STREAM = read(
    "HOOKHUB_STREAM", partial(stream, queue=HOOKHUB_QUEUE), f"{HOOKHUB_QUEUE}:events", expects="the name of a stream"
)

# The maintenance tasks of the worker's scheduler; each runs about once a second, on one worker at a time.
HOOKHUB_CHORES = (*defaults.HOOKHUB_CHORES, "hookhub.service.login_sessions.prune_ended")
# What waits for mail servers and receivers, and must not delay maintenance; each also runs about once a second.
HOOKHUB_NOTICES = defaults.HOOKHUB_NOTICES
# What else than webhooks has sealed values, for `manage.py reencrypt_secrets`.
HOOKHUB_SEALED = defaults.HOOKHUB_SEALED

# Logins by OpenID Connect, and a second factor ----------------------------------------------------------------------

HOOKHUB_OIDC_ISSUER = read("HOOKHUB_OIDC_ISSUER", url, "", expects="the URL of an issuer")
HOOKHUB_OIDC_CLIENT_ID = text("HOOKHUB_OIDC_CLIENT_ID")
HOOKHUB_OIDC_CLIENT_SECRET = text("HOOKHUB_OIDC_CLIENT_SECRET")
HOOKHUB_OIDC_NAME = text("HOOKHUB_OIDC_NAME", "single sign-on")
HOOKHUB_OIDC_SCOPES = words("HOOKHUB_OIDC_SCOPES", ("openid", "profile", "email"))
# The claim whose values give a login its roles, and what each value gives.
HOOKHUB_OIDC_CLAIM = text("HOOKHUB_OIDC_CLAIM", "groups")
HOOKHUB_OIDC_ROLES: tuple[sso.Rule, ...] = read(
    "HOOKHUB_OIDC_ROLES", sso.rules, (), expects="value=organization:role, separated by semicolons"
)
HOOKHUB_TWO_FACTOR = read("HOOKHUB_TWO_FACTOR", sso.two_factor, "off", expects="a word")
HOOKHUB_LOCAL_LOGIN = flag("HOOKHUB_LOCAL_LOGIN", default=True)
# Whether django-allauth logs people in. Otherwise it is not imported.
HOOKHUB_ALLAUTH = bool(HOOKHUB_OIDC_ISSUER) or HOOKHUB_TWO_FACTOR != "off"

if HOOKHUB_OIDC_ISSUER and not HOOKHUB_OIDC_CLIENT_ID:
    raise ImproperlyConfigured("HOOKHUB_OIDC_CLIENT_ID is not set. The provider at HOOKHUB_OIDC_ISSUER has it.")
if not HOOKHUB_LOCAL_LOGIN and not HOOKHUB_OIDC_ISSUER:
    raise ImproperlyConfigured("HOOKHUB_LOCAL_LOGIN=0 needs HOOKHUB_OIDC_ISSUER: there would be no way to log in.")
if HOOKHUB_ALLAUTH and find_spec("allauth") is None:
    raise ImproperlyConfigured(
        "HOOKHUB_OIDC_ISSUER and HOOKHUB_TWO_FACTOR need packages that are not installed: pip install 'hookhub[sso]'"
    )
if HOOKHUB_ALLAUTH:
    from hookhub.service.allauth_settings import *

    INSTALLED_APPS = [*frameworks.INSTALLED_APPS, *sso.APPS]
    MIDDLEWARE = [*frameworks.MIDDLEWARE, *sso.MIDDLEWARE]
    AUTHENTICATION_BACKENDS = [
        "django.contrib.auth.backends.ModelBackend" if HOOKHUB_LOCAL_LOGIN else "hookhub.sso.backends.WithoutPassword"
    ]
    SOCIALACCOUNT_PROVIDERS = sso.provider(
        HOOKHUB_OIDC_ISSUER,
        client=HOOKHUB_OIDC_CLIENT_ID,
        secret=HOOKHUB_OIDC_CLIENT_SECRET,
        name=HOOKHUB_OIDC_NAME,
        scopes=HOOKHUB_OIDC_SCOPES,
    )
    HOOKHUB_SEALED = (*HOOKHUB_SEALED, "hookhub.sso.two_factor.reencrypt_all")

# Django -------------------------------------------------------------------------------------------------------------

DATA_UPLOAD_MAX_MEMORY_SIZE = HOOKHUB_REQUEST_LIMIT
SPECTACULAR_SETTINGS = frameworks.openapi_settings(HOOKHUB_PUBLIC_URL)

# Metrics, traces, errors ---------------------------------------------------------------------------------------------

# Where Prometheus finds the metrics of this machine; 0 for none. No key is needed there, so by default only programs on
# this machine can connect.
HOOKHUB_METRICS_PORT = whole("HOOKHUB_METRICS_PORT", most=MAX_PORT)
HOOKHUB_METRICS_HOST = text("HOOKHUB_METRICS_HOST", defaults.HOOKHUB_METRICS_HOST)
# A folder for the files in which its processes keep them; by default one in memory, as far as the system has such.
HOOKHUB_METRICS_DIR = text("HOOKHUB_METRICS_DIR", defaults.HOOKHUB_METRICS_DIR)

# Spans of accepted events and of attempts, sent to a collector by OTLP; OTEL_* variables say where, and which.
HOOKHUB_TRACING = flag("HOOKHUB_TRACING")

# Where errors are reported; without it, nowhere but in the log.
SENTRY_DSN = sentry_dsn(text("SENTRY_DSN"))

# E-mail -------------------------------------------------------------------------------------------------------------

EMAIL_HOST = text("HOOKHUB_EMAIL_HOST")
EMAIL_PORT = whole("HOOKHUB_EMAIL_PORT", 587, most=MAX_PORT)
EMAIL_HOST_USER = text("HOOKHUB_EMAIL_USER")
EMAIL_HOST_PASSWORD = text("HOOKHUB_EMAIL_PASSWORD")
EMAIL_USE_TLS = flag("HOOKHUB_EMAIL_TLS", default=True)
EMAIL_TIMEOUT = 10
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
DEFAULT_FROM_EMAIL = text("HOOKHUB_EMAIL_FROM", "HookHub <hookhub@localhost>")

# Logging ------------------------------------------------------------------------------------------------------------

# Whether to log one JSON line per request; off in development, to keep the terminal readable.
HOOKHUB_ACCESS_LOG = flag("HOOKHUB_ACCESS_LOG", default=not HOOKHUB_DEVELOPMENT)
# As text or, for programs that read logs, as JSON: one object on each line.
HOOKHUB_LOG_FORMAT = read("HOOKHUB_LOG_FORMAT", partial(one_of, ("text", "json")), "text", expects="text or json")
LOGGING_CONFIG, LOGGING = logging_settings(
    as_json=HOOKHUB_LOG_FORMAT == "json",
    level=read("HOOKHUB_LOG_LEVEL", level, "INFO", expects="a level of logging"),
)

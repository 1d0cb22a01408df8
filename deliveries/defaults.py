"""The defaults of HookHub's settings: of the service, and of a Django project that has HookHub among its apps.

``hookhub/service/settings.py`` says what each is for. A project sets in its own settings only what is to differ.
"""

import base64
import hmac
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network

from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured

from deliveries import setting_types

Networks = tuple[IPv4Network | IPv6Network, ...]

# In a project it is known of each request; only e-mails and alerts need the setting.
HOOKHUB_PUBLIC_URL = ""
PUBLIC_URL_OF_THE_SERVICE = "http://127.0.0.1:8000"
HOOKHUB_PORT = 8000
HOOKHUB_TOPIC_HOSTS: tuple[str, ...] = ("github.com", "socialgateway.net")
HOOKHUB_TRUSTED_PROXIES: Networks = ()
HOOKHUB_SESSION_IDLE: timedelta = timedelta(hours=2)
HOOKHUB_DEVICE_COOKIE = "hookhub_device"
HOOKHUB_PORTAL_COOKIE = "hookhub_portal"
HOOKHUB_SECURITY_CONTACT: tuple[str, ...] = ()
HOOKHUB_ACCESS_LOG = False
HOOKHUB_METRICS_PORT = 0
HOOKHUB_METRICS_HOST = "127.0.0.1"
HOOKHUB_METRICS_DIR = ""
HOOKHUB_TRACING = False

HOOKHUB_PAYLOAD_LIMIT = 1024 * 1024
HOOKHUB_REQUEST_LIMIT = 32 * 1024 * 1024
HOOKHUB_BODY_TIMEOUT: timedelta = timedelta(seconds=10)
HOOKHUB_BODY_MIN_RATE = 1000
HOOKHUB_WEB_QUEUE = 256

HOOKHUB_RETRY_SCHEDULE: tuple[timedelta, ...] = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
)
HOOKHUB_TIMEOUT: timedelta = timedelta(seconds=15)
HOOKHUB_LEASE: timedelta = timedelta(seconds=60)
HOOKHUB_SLOTS = 256
HOOKHUB_MAX_IN_FLIGHT = 10
HOOKHUB_WORKER_PROCESSES = 2
HOOKHUB_DISABLE_AFTER_FAILURES = 0
HOOKHUB_RESPONSE_KEPT = 16 * 1024
HOOKHUB_RETENTION: timedelta = timedelta(days=30)
HOOKHUB_AUDIT_RETENTION: timedelta = timedelta(days=365)
HOOKHUB_MAX_HOPS = 3
HOOKHUB_SECRET_OVERLAP: timedelta = timedelta(hours=24)
HOOKHUB_WEBHOOK_EXPIRY_WARNING: timedelta = timedelta(days=7)
HOOKHUB_KEY_EXPIRY_WARNING: timedelta = timedelta(days=7)

HOOKHUB_REQUESTS_PER_ADDRESS = 6000
HOOKHUB_REQUESTS_PER_KEY = 6000
HOOKHUB_REQUESTS_PER_ORGANIZATION = 12_000
HOOKHUB_EVENTS_PER_KEY = 1_200_000
HOOKHUB_EVENTS_PER_ORGANIZATION = 1_200_000
HOOKHUB_LOGINS_PER_ADDRESS = 30
HOOKHUB_LOGINS_PER_NAME = 10
HOOKHUB_TEST_EVENTS = 300
HOOKHUB_WEBHOOK_CHANGES = 3000
HOOKHUB_WEBHOOKS_PER_ORGANIZATION = 10_000
HOOKHUB_WEBHOOKS_PER_URL = 20
HOOKHUB_WEBHOOKS_PER_HOST = 10_000
HOOKHUB_HUB_ANONYMOUS = True
HOOKHUB_HUB_REQUESTS_PER_ADDRESS = 60
HOOKHUB_HUB_REQUESTS_PER_HOST = 60
HOOKHUB_HUB_SUBSCRIPTIONS = 10_000
HOOKHUB_MCP_SUBSCRIPTIONS = 10_000
HOOKHUB_HUB_LEASE: timedelta = timedelta(days=10)
HOOKHUB_HUB_MIN_LEASE: timedelta = timedelta(minutes=5)
HOOKHUB_HUB_MAX_LEASE: timedelta = timedelta(days=30)

HOOKHUB_ALLOWED_NETWORKS: Networks = ()
HOOKHUB_ALLOWED_HOSTS: frozenset[str] = frozenset()
HOOKHUB_HTTPS_ONLY = False
HOOKHUB_REQUIRE_TLS_VERIFICATION = False
HOOKHUB_CA_BUNDLE = ""
HOOKHUB_SOURCE_ADDRESSES: tuple[str, ...] = ()

HOOKHUB_DIRECT_DATABASE_URL = ""
HOOKHUB_QUEUE = "hookhub"
# In the service it is named after the queue. A project publishes in its transactions.
HOOKHUB_STREAM = ""

HOOKHUB_CHORES: tuple[str, ...] = (
    "deliveries.maintenance.tasks.rescue_expired_leases",
    "deliveries.maintenance.tasks.review_webhooks",
    "deliveries.maintenance.tasks.continue_releases",
    "deliveries.maintenance.tasks.cancel_deliveries_of_deleted",
    "deliveries.maintenance.leases.warn_of_expiry",
    "deliveries.maintenance.leases.end_expired",
    "deliveries.maintenance.leases.forget_unverified",
    "deliveries.maintenance.retention.prune_expired",
    "deliveries.maintenance.hourly_stats.count_attempts",
    "deliveries.audit.prune_expired",
    "hookhub.replays.run_replays",
    "hookhub.portal_sessions.prune_ended",
    "hookhub.alerts.announcing.watch_webhooks",
    "hookhub.alerts.announcing.announce_disabled",
    "hookhub.alerts.announcing.announce_ending",
    "hookhub.alerts.history.prune",
)
HOOKHUB_NOTICES: tuple[str, ...] = (
    "hookhub.alerts.sending.send_due",
    "hookhub.notifications.api_keys.warn_of_expiring_keys",
)
HOOKHUB_SEALED: tuple[str, ...] = ("hookhub.alerts.channels.reencrypt_all",)

# No attempt may take longer, whatever a webhook asks for.
LONGEST_TIMEOUT = timedelta(seconds=30)
# Between the end of an attempt and the end of its lease.
LEASE_MARGIN = timedelta(seconds=2)


def max_timeout(*, timeout: timedelta, lease: timedelta) -> timedelta:
    """Return the longest timeout that a webhook may set: it never exceeds the lease.

    Raises ImproperlyConfigured if the default timeout is too long for the lease, or longer than any may be.
    """
    if timeout > LONGEST_TIMEOUT:
        raise ImproperlyConfigured(f"HOOKHUB_TIMEOUT ({timeout}) must be at most {LONGEST_TIMEOUT}.")
    if timeout + LEASE_MARGIN > lease:
        raise ImproperlyConfigured(
            f"HOOKHUB_LEASE ({lease}) must exceed HOOKHUB_TIMEOUT ({timeout}) by at least 2 seconds, "
            "or a second worker could claim a delivery while the first still waits for the response."
        )
    return min(LONGEST_TIMEOUT, lease - LEASE_MARGIN)


def deployment_id(secret_key: str) -> str:
    """Return a deployment's id in the HookHub-Hops header: the same on every host, without revealing the key."""
    return hmac.digest(secret_key.encode(), b"hookhub-hops", "sha256").hex()[:12]


def encryption_key(secret_key: str) -> str:
    """Return the key that encrypts webhooks' secrets in a project that sets none, made of its SECRET_KEY."""
    return base64.urlsafe_b64encode(hmac.digest(secret_key.encode(), b"hookhub-encryption", "sha256")).decode()


def redis_url(broker: str) -> str:
    """Return the URL of a Celery broker as redis-py expects it, or "" if the broker is no single Redis."""
    if broker.startswith("redis+socket://"):
        path, _, query = broker.removeprefix("redis+socket://").partition("?")
        number = dict(part.partition("=")[::2] for part in query.split("&")).get("virtual_host", "0")
        return f"unix://{path}?db={number}"
    return broker if broker.startswith(("redis://", "rediss://")) and ";" not in broker else ""


# What ``fill`` makes of other settings.
DERIVED = frozenset(
    {
        "HOOKHUB_BEHIND_TLS_PROXY",
        "HOOKHUB_DEPLOYMENT_ID",
        "HOOKHUB_DEVELOPMENT",
        "HOOKHUB_ENCRYPTION_KEYS",
        "HOOKHUB_MAX_TIMEOUT",
    }
)


def fill(settings: LazySettings) -> None:
    """Set the default of every setting that the project leaves out, so that ``django.conf.settings`` has all.

    Raises ImproperlyConfigured for settings of a wrong type, and for those that contradict each other.
    """
    for name, default in globals().items():
        if name.startswith("HOOKHUB_"):
            _set_default(settings, name, default)
            setting_types.check(name, getattr(settings, name), default=default)
    # A project that replaces its SECRET_KEY keeps the old one as a fallback: what was encrypted with it stays readable.
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    _set_default(settings, "HOOKHUB_ENCRYPTION_KEYS", tuple(encryption_key(str(key)) for key in keys))
    setting_types.check("HOOKHUB_ENCRYPTION_KEYS", settings.HOOKHUB_ENCRYPTION_KEYS, default=())
    _set_default(settings, "HOOKHUB_DEPLOYMENT_ID", deployment_id(settings.SECRET_KEY))
    _set_default(settings, "HOOKHUB_DEVELOPMENT", settings.DEBUG)
    _set_default(settings, "HOOKHUB_BEHIND_TLS_PROXY", settings.SESSION_COOKIE_SECURE)
    # A project whose Celery runs on Redis has one. Without, what wakes workers is a look at the database once a second.
    _set_default(settings, "REDIS_URL", redis_url(str(getattr(settings, "CELERY_BROKER_URL", None) or "")))
    limits = {"timeout": settings.HOOKHUB_TIMEOUT, "lease": settings.HOOKHUB_LEASE}
    _set_default(settings, "HOOKHUB_MAX_TIMEOUT", max_timeout(**limits))


def _set_default(settings: LazySettings, name: str, value: object) -> None:
    if not hasattr(settings, name):
        setattr(settings, name, value)

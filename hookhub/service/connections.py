"""Parses the addresses of PostgreSQL and Redis, the stream's name and the served hosts into what libraries expect."""

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

from deliveries.redis_address import options_of, sentinels_of, tls_of


def database(url: str, *, statement_timeout: int, is_pooled: bool | None = None) -> dict[str, Any]:
    """Return Django's database settings for a libpq URI and a timeout in milliseconds.

    ``is_pooled`` says whether a pooler is in between that gives each transaction another session; None lets each
    connection find out.

    Raises ImproperlyConfigured if the URI is not one.
    """
    parts = _parts(url, "DATABASE_URL")
    known = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    found: dict[str, Any] = {known[key]: value for key, value in parts.items() if key in known}
    rest = {key: value for key, value in parts.items() if key not in known}
    # Set after connecting: PgBouncer rejects or drops settings in the startup message.
    session = {
        "statement_timeout": str(statement_timeout),
        "lock_timeout": "10000",
        # An old snapshot keeps VACUUM from removing dead rows, which ruins a queue table, so no transaction may idle.
        "idle_in_transaction_session_timeout": "30000",
        # Plan each statement once, for batches of any size: the plans of the queue must not depend on statistics that
        # may have been taken while a table was empty.
        "plan_cache_mode": "force_generic_plan",
    }
    # Detects a server or network that disappears silently within half a minute; TCP's defaults take two hours.
    vigilance = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
    return {
        "ENGINE": "hookhub.postgresql",
        **found,
        "CONN_MAX_AGE": 300,
        "CONN_HEALTH_CHECKS": True,
        "SESSION": session,
        "IS_POOLED": is_pooled,
        "OPTIONS": {"connect_timeout": 5, "prepare_threshold": 3, "application_name": "hookhub", **vigilance, **rest},
    }


def direct_database(url: str) -> str:
    """Return the URL of the PostgreSQL behind a pooler, "" for none; raises ImproperlyConfigured if it is not one."""
    if url:
        _parts(url, "HOOKHUB_DIRECT_DATABASE_URL")
    return url


def _parts(url: str, name: str) -> dict[str, Any]:
    try:
        return conninfo_to_dict(url)
    except Exception as error:
        # The message must not repeat the URI, which may contain a password.
        raise ImproperlyConfigured(f"{name} is not a PostgreSQL URI: postgresql://user:password@host/name") from error


def pooling(value: str) -> bool:
    """Parse how a pooler assigns sessions; return whether to transactions. Raises ValueError."""
    modes = {"transaction": True, "session": False}
    if value.lower() not in modes:
        raise ValueError("use the pool_mode of PgBouncer")
    return modes[value.lower()]


def broker(url: str) -> str:
    """Return a Redis URL as kombu expects it, which has another scheme for redis-py's ``unix://``.

    The transport itself reads the addresses of Sentinels, and Celery gets TLS options from ``broker_tls``. Raises
    ImproperlyConfigured.
    """
    try:
        if sentinels_of(url):
            return "sentinel://"
    except ValueError as error:
        raise ImproperlyConfigured(f"REDIS_URL is invalid: {error}") from None
    try:
        options_of(url)
    except ValueError:
        # Not what redis-py says, which may quote a part of the password.
        raise ImproperlyConfigured(
            "REDIS_URL is not the URL of a Redis: redis://, rediss:// or unix://, or Sentinels as redis+sentinel://"
        ) from None
    if url.startswith("rediss://"):
        return url.partition("?")[0]
    if not url.startswith("unix://"):
        return url
    path, _, query = url.removeprefix("unix://").partition("?")
    number = dict(part.partition("=")[::2] for part in query.split("&")).get("db", "0")
    return f"redis+socket://{path}?virtual_host={number}"


def broker_tls(url: str) -> dict[str, Any] | None:
    """Return the TLS options of a Redis URL as Celery expects them; None without TLS, or if the URL is invalid."""
    try:
        return tls_of(url)
    except ValueError:
        return None


def stream(value: str, *, queue: str) -> str:
    """Parse the name of the stream that producers write to; return "" if it is switched off. Raises ValueError."""
    if value.lower() in {"off", "no", "false", "0"}:
        return ""
    if not value.isprintable() or " " in value:
        raise ValueError('must not contain spaces or control characters; "off" disables the stream')
    if value == queue:
        raise ValueError("must differ from HOOKHUB_QUEUE, the key of Celery's queue")
    return value


def served_by_default(public_url: str) -> tuple[str, ...]:
    """Return the default of ALLOWED_HOSTS: the names of this machine, and the host of the public URL.

    Any other name is rejected to prevent DNS rebinding, where a foreign page resolves its name to this machine and
    acts with its visitor's session.
    """
    public = urlsplit(public_url).netloc.rpartition("@")[2]
    host = public.partition("]")[0] + "]" if public.startswith("[") else public.partition(":")[0]
    return tuple(dict.fromkeys(("localhost", ".localhost", "127.0.0.1", "[::1]", host.lower() or "localhost")))

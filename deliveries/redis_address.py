"""Reads the address of Redis: one server, or the Sentinels that know which server is the master."""

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from redis import ConnectionPool, SSLConnection
from redis.maint_notifications import MaintNotificationsConfig

SENTINEL_PORT = 26379
# The schemes of Sentinels, and the one that their servers would have.
SCHEMES = {"sentinel": "redis", "redis+sentinel": "redis", "rediss+sentinel": "rediss"}
# The hosts, the path and the query after the scheme. Not read by urlsplit, which takes the hosts for one, and since the
# fix of CVE-2025-0938 refuses brackets after a comma.
PARTS = re.compile(r"^(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?", re.DOTALL)
EXPECTED = "redis+sentinel://user:password@one:26379,two:26379,three:26379/service/0"


class Sentinels(NamedTuple):
    """Sentinels and what they watch: the options are those of redis-py's connections to the servers and to them."""

    nodes: tuple[tuple[str, int], ...]
    service: str
    is_tls: bool
    options: dict[str, Any]
    own_options: dict[str, Any]


def options_of(url: str) -> tuple[dict[str, Any], bool]:
    """Return redis-py's options for the URL of a server, and whether it is reached by TLS; raises ValueError."""
    # On TCP connections redis-py would subscribe to maintenance notifications, which requires RESP3.
    pool = ConnectionPool.from_url(url, maint_notifications_config=MaintNotificationsConfig(enabled=False))
    return pool.connection_kwargs, issubclass(pool.connection_class, SSLConnection)


def sentinels_of(url: str) -> Sentinels | None:
    """Return the Sentinels of a URL, or None if it is the URL of a server; raises ValueError.

    The user, the password and the TLS options are those of the servers. The Sentinels' own user and password are the
    options ``sentinel_username`` and ``sentinel_password``.
    """
    scheme, _, rest = url.partition(":")
    if (scheme := scheme.lower()) not in SCHEMES:
        return None
    [(netloc, path, search)] = PARTS.findall(rest)
    credentials, at, hosts = netloc.rpartition("@")
    service, _, database = path.strip("/").partition("/")
    nodes = tuple(_node(host) for host in hosts.split(",") if host)
    if not nodes or not service or not (database or "0").isdecimal():
        # Without the URL, which may contain a password.
        raise ValueError(f"expected {EXPECTED}")
    query = {name: values[-1] for name, values in parse_qs(search).items()}
    own = {name: query.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    options, is_tls = options_of(
        f"{SCHEMES[scheme]}://{credentials}{at}{hosts.split(',')[0]}/{database or 0}?{urlencode(query)}"
    )
    options = {name: value for name, value in options.items() if name not in {"host", "port"}}
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    return Sentinels(nodes, service, is_tls, options, {**own, **tls, "ssl": is_tls})


def _node(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"expected {EXPECTED}")
    return parts.hostname, parts.port or SENTINEL_PORT


def tls_of(url: str) -> dict[str, Any] | None:
    """Return the TLS options of a URL as Celery expects them, or None without TLS; raises ValueError."""
    sentinels = sentinels_of(url)
    options, is_tls = (sentinels.options, sentinels.is_tls) if sentinels else options_of(url)
    if not is_tls:
        return None
    return {"ssl_cert_reqs": "required"} | {name: each for name, each in options.items() if name.startswith("ssl_")}

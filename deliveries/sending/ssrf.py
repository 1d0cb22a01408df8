"""The SSRF guard: pure functions that decide whether an address and port may be connected to.

They are called when a webhook's URL is set, and again for every connection.
"""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

# The lists are written out because `is_global` is no policy: it lets ::127.0.0.1, fec0::1, 64:ff9b::7f00:1,
# 2002:7f00:1:: and 168.63.129.16 through, and its answers change with the version of Python.
REFUSED_IPV4: dict[str, str] = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private networks",
    "100.64.0.0/10": "carrier-grade NAT",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "Azure's platform address",
    "169.254.0.0/16": "link-local, including cloud metadata services",
    "172.16.0.0/12": "private networks",
    "192.0.0.0/24": "protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "multicast tunneling",
    "192.88.99.0/24": "6to4 relays",
    "192.168.0.0/16": "private networks",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved and broadcast",
}
# IPv6 is an allowlist: only this range is assigned for the public Internet, and everything outside is refused.
ALLOWED_IPV6 = IPv6Network("2000::/3")
REFUSED_IPV6: dict[str, str] = {
    "2001::/23": "protocol assignments and Teredo",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4, which embeds an IPv4 address",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
}

WEB_PORTS = frozenset({80, 443})
FIRST_FREE_PORT = 1024
LAST_PORT = 65535
# Services that an HTTP request could make act, or that answer any HTTP client without authentication. Ports on which
# receivers commonly run are left out (3000, 5000, 8000, 8080, 8443, 9000; 8123 is Home Assistant), and so are those
# from 32768 up, which are ephemeral.
SERVICE_PORTS: dict[int, str] = {
    1433: "SQL Server",
    1521: "Oracle Database",
    2049: "NFS",
    2181: "ZooKeeper",
    2375: "Docker",
    2376: "Docker",
    2377: "Docker Swarm",
    2379: "etcd",
    2380: "etcd",
    3306: "MySQL",
    3389: "Remote Desktop",
    4369: "Erlang's port mapper",
    4646: "Nomad",
    5432: "PostgreSQL",
    5671: "AMQP",
    5672: "AMQP",
    5900: "VNC",
    5984: "CouchDB",
    5985: "Windows Remote Management",
    5986: "Windows Remote Management",
    6000: "X11",
    6379: "Redis",
    6432: "PgBouncer",
    6443: "Kubernetes",
    7474: "Neo4j",
    7687: "Neo4j",
    8200: "Vault",
    8300: "Consul",
    8301: "Consul",
    8302: "Consul",
    8500: "Consul",
    8501: "Consul",
    8600: "Consul",
    8983: "Solr",
    9042: "Cassandra",
    9092: "Kafka",
    9200: "Elasticsearch",
    9300: "Elasticsearch",
    9418: "Git",
    10250: "the Kubernetes kubelet",
    10255: "the Kubernetes kubelet",
    10257: "the Kubernetes controller manager",
    10259: "the Kubernetes scheduler",
    11211: "memcached",
    15672: "RabbitMQ management",
    16379: "Redis Cluster",
    26379: "Redis Sentinel",
    27017: "MongoDB",
    27018: "MongoDB",
    27019: "MongoDB",
    28017: "MongoDB",
}


@dataclass(frozen=True)
class Policy:
    """The operator's exceptions to the address rules, and rules about TLS. No exception lifts the port rules.

    ``hosts`` are exact host names in the form that ``target.normalise_host`` returns. ``allows_loopback`` is for
    development. ``https_only`` and ``requires_tls_verification`` are additional rules; they also apply to webhooks that
    were created before they were set.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    allows_loopback: bool = False
    https_only: bool = False
    requires_tls_verification: bool = False


def public_refusal(address: str, port: int, *, policy: Policy, host: str) -> str | None:
    """Return the message of ``refusal`` without the addresses of a host name, or None if the address is allowed.

    A webhook's owner may read it, and must not learn what private host names resolve to; the log has that for the
    operator. An address that is part of the URL is known to the owner and stays.
    """
    reason = refusal(address, port, policy=policy, host=host)
    if reason is None or not host or _is_address(host):
        return reason
    return port_refusal(port, subject=host) or (
        f"Connections to {_shown(host)} are not allowed: it resolves to a blocked address. Ask the operator: "
        "the log has the address and the setting that allows it."
    )


def refusal(address: str, port: int, *, policy: Policy, host: str = "") -> str | None:
    """Return a message for the operator why ``address`` and ``port`` must not be connected to, or None.

    ``address`` is the text of an IP address, possibly with an IPv6 scope (``%eth0``); any other text is refused.
    ``host`` is the host name that resolved to it, as ``url.host_and_port_of`` returns it.
    """
    return port_refusal(port, subject=address) or _address_refusal(address, policy, host)


def port_refusal(port: int, *, subject: str) -> str | None:
    """Return why ``port`` of ``subject`` (an address or a host name) must not be connected to, or None."""
    if port in SERVICE_PORTS:
        reason = f"{SERVICE_PORTS[port]} usually listens there"
    elif port in WEB_PORTS or FIRST_FREE_PORT <= port <= LAST_PORT:
        return None
    else:
        reason = f"webhooks can use only ports 80, 443 and {FIRST_FREE_PORT} to {LAST_PORT}"
    return f"Connections to port {port} of {_shown(subject)} are not allowed: {reason}. No setting changes this."


# Hosts rarely change their addresses, so the connections of a busy minute repeat a few calls.
@lru_cache(maxsize=4096)
def _address_refusal(address: str, policy: Policy, host: str) -> str | None:
    """Return why ``address`` must not be connected to on any port, or None."""
    try:
        written = ip_address(address)
    except ValueError:
        return f"Connections to {_shown(address)} are not allowed: it is not an IP address. No setting changes this."
    dialled = _unwrapped(written)
    reason = _refused_as(dialled)
    if reason is None or _is_excepted(dialled, policy, host):
        return None

    named = _shown(address) if dialled == written else f"{_shown(address)} ({dialled})"
    what = f"{named} are not allowed: it is"
    if host and host != address:
        what = f"{_shown(host)} are not allowed: it resolves to {named}, which is"
    # A network has no scope (%eth0).
    network = f"{str(dialled).partition('%')[0]}/{dialled.max_prefixlen}"
    return (
        f"Connections to {what} {reason}. The operator can allow them by adding "
        f"{network} to HOOKHUB_ALLOWED_NETWORKS or {_shown(host or 'its host name')} to HOOKHUB_ALLOWED_HOSTS."
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address inside an IPv4-mapped one (::ffff:0:0/96), and any other address unchanged."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _refused_as(address: IPv4Address | IPv6Address) -> str | None:
    """Return a phrase for the range that ``address`` is refused for (``in 10.0.0.0/8 (private networks)``), or None."""
    # Compare integers: `address in network` takes ten times as long, and a connection waits for this.
    number = int(address)
    if isinstance(address, IPv6Address) and not _ALLOWED_IPV6_RANGE[0] <= number <= _ALLOWED_IPV6_RANGE[1]:
        return f"outside {ALLOWED_IPV6}, the only range assigned for the public Internet"
    for first, last, reason in _REFUSED_RANGES[address.version]:
        if first <= number <= last:
            return reason
    return None


def _is_excepted(address: IPv4Address | IPv6Address, policy: Policy, host: str) -> bool:
    """Return whether the operator's exceptions allow this refused address."""
    # An empty host must never match, because a list parsed from an empty variable may contain an empty name.
    if host and host in policy.hosts:
        return True
    if policy.allows_loopback and address.is_loopback:
        return True
    return any(address in network for network in policy.networks)


def _shown(text: str) -> str:
    """Return ``text`` if it is safe in a log line and a response, else an escaped and truncated form of it."""
    return text if text and text.isascii() and text.isprintable() and len(text) <= 253 else ascii(text[:80])


def _range(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """Return the first and the last address of ``network`` as integers."""
    return int(network[0]), int(network[-1])


_ALLOWED_IPV6_RANGE = _range(ALLOWED_IPV6)
_REFUSED_RANGES: dict[int, tuple[tuple[int, int, str], ...]] = {
    version: tuple((*_range(ip_network(cidr)), f"in {cidr} ({label})") for cidr, label in refused.items())
    for version, refused in ((4, REFUSED_IPV4), (6, REFUSED_IPV6))
}

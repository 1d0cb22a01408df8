"""The client's address: the peer's, or the one that a trusted proxy forwards."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings

Network = IPv4Network | IPv6Network
# A household or a virtual machine has a whole /64, so rate limits count it as one client.
IPV6_PREFIX = 64


def address_of(environ: Mapping[str, str]) -> str:
    """Return the client's address from a request's WSGI environment, or a mapping like it."""
    peer, forwarded = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
    return client_address(peer, forwarded, trusted=settings.HOOKHUB_TRUSTED_PROXIES)


def client_address(peer: str, forwarded: str, *, trusted: Collection[Network]) -> str:
    """Return the address of the client behind ``peer``, given ``forwarded``, its X-Forwarded-For header.

    Only entries written by trusted proxies count: read from the right, the first address that does not belong to a
    trusted proxy is the client's. Reading stops at an entry that is not an address. An empty ``peer`` is a Unix socket,
    which only a proxy on this machine can reach.
    """
    if not trusted or not forwarded or not (peer == "" or _is_in(peer, trusted)):
        return peer
    client = peer
    for part in reversed(forwarded.split(",")[-20:]):
        found = _read(part.strip())
        if found is None:
            break
        client = str(found)
        if not _is_in(client, trusted):
            break
    return client


@lru_cache(maxsize=4096)
def subject_of(address: str) -> str:
    """Return the rate-limit subject of an address: the address itself, or its /64 for IPv6."""
    found = _read(address)
    if isinstance(found, IPv6Address):
        return str(ip_network(f"{found}/{IPV6_PREFIX}", strict=False))
    return address if found is None else str(found)


def _is_in(address: str, networks: Collection[Network]) -> bool:
    found = _read(address)
    return found is not None and any(found in network for network in networks)


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address as proxies write it, possibly with a port or in brackets; IPv4-mapped IPv6 becomes IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found

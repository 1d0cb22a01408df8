"""Whose request it is by address: the peer's, or the one that a trusted proxy forwards."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings

Network = IPv4Network | IPv6Network
# A household or a virtual machine has all of these, so they count as one.
IPV6_PREFIX = 64


def address_of(environ: Mapping[str, str]) -> str:
    """Return the client's address, given a request's WSGI environment, or the like of it."""
    peer, forwarded = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
    return client_address(peer, forwarded, trusted=settings.HOOKHUB_TRUSTED_PROXIES)


def client_address(peer: str, forwarded: str, *, trusted: Collection[Network]) -> str:
    """Return the address of the client behind ``peer``, given ``forwarded``, its X-Forwarded-For.

    The header counts as far as trusted proxies wrote it: read from its end, the first address that is no trusted
    proxy's is the client's. What is no address ends the reading. A peer without an address is a Unix socket's, which
    only a proxy on this machine has.
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
    """Return what an address is counted as: itself, or its /64 where it is IPv6."""
    found = _read(address)
    if isinstance(found, IPv6Address):
        return str(ip_network(f"{found}/{IPV6_PREFIX}", strict=False))
    return address if found is None else str(found)


def _is_in(address: str, networks: Collection[Network]) -> bool:
    found = _read(address)
    return found is not None and any(found in network for network in networks)


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address as proxies write it, with a port or brackets perhaps; IPv4 in IPv6 is IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found

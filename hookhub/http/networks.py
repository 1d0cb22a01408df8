"""The networks from which an API key may be used."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

MAX_NETWORKS = 100
# The bits before the IPv4 address in an IPv4-mapped IPv6 address.
IPV4_MAPPED_PREFIX = 96


class InvalidNetworks(Exception):
    """The list of networks is invalid; the message says why."""


def normalized(given: object) -> list[str]:
    """Return addresses and networks in canonical notation without duplicates; raise InvalidNetworks."""
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise InvalidNetworks('must be a list of IP addresses and networks, such as ["192.0.2.7", "2001:db8::/32"]')
    if len(given) > MAX_NETWORKS:
        raise InvalidNetworks(f"must have at most {MAX_NETWORKS} entries")
    found: dict[str, None] = {}
    for each in given:
        if "%" in each:
            raise InvalidNetworks(f"{each[:100]!r} has a zone, which is valid on one machine only; remove it")
        try:
            network = _plain(ip_network(each.strip()))
        except ValueError as error:
            raise InvalidNetworks(f"{each[:100]!r} is not a valid IP address or network: {error}") from error
        found[str(network)] = None
    return list(found)


def contains(networks: Sequence[str], address: str) -> bool:
    """Return whether one of the networks contains an address; False if it is not an IP address."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in _parsed(tuple(networks)))


def _plain(network: Network) -> Network:
    """Return an IPv4-mapped IPv6 network (within ::ffff:0:0/96) as an IPv4 network, and any other unchanged."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < IPV4_MAPPED_PREFIX:
        return network
    return IPv4Network((mapped, network.prefixlen - IPV4_MAPPED_PREFIX))


@lru_cache(maxsize=1024)
def _parsed(networks: Iterable[str]) -> tuple[Network, ...]:
    return tuple(_plain(ip_network(network)) for network in networks)

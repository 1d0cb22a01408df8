"""Checks that a request comes from one of HookHub's source addresses, which ``GET /v1/meta`` lists."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def is_from(address: str, ranges: Iterable[str]) -> bool:
    """Return whether an IP address is within one of the ranges, such as ``source_addresses`` of ``GET /v1/meta``.

    Ranges are IPv4 or IPv6 addresses or CIDR blocks; raise ValueError for an invalid one. The result is False for an
    invalid address, and for every address if ``ranges`` is empty: skip the check if the operator publishes none.

        is_from("192.0.2.7", ["192.0.2.0/24", "2001:db8::1"])  # True
    """
    networks = [ip_network(one.strip(), strict=False) for one in ranges]
    found = _read(address)
    return found is not None and any(found.version == one.version and found in one for one in networks)


def sender_of(peer: str, forwarded_for: str, *, proxies: Iterable[str]) -> str:
    """Return the address of the client that sent a request through zero or more of your own reverse proxies.

    ``peer`` is the address of the TCP connection, ``forwarded_for`` the value of X-Forwarded-For, possibly empty, and
    ``proxies`` are the address ranges of your proxies. The header is read from right to left, and the first address
    that is not one of your proxies is returned: the entries to the left of it may be forged.
    """
    proxies = list(proxies)
    hops = [peer, *reversed([hop.strip() for hop in forwarded_for.split(",") if hop.strip()])]
    for hop in hops:
        if not is_from(hop, proxies):
            return hop
    return hops[-1]


def _read(address: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(address.strip())
    except ValueError:
        return None
    # A dual-stack socket reports IPv4 peers as IPv4-mapped IPv6 addresses.
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found

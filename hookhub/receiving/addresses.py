"""Whether a request comes from the addresses that HookHub sends from, which ``GET /v1/meta`` lists."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def is_from(address: str, ranges: Iterable[str]) -> bool:
    """Tell whether an address lies within one of the ranges, such as ``source_addresses`` of ``GET /v1/meta``.

    Ranges are addresses or CIDR blocks of either kind; a range that is neither is the caller's ValueError. An address
    that is none lies nowhere. No ranges contain nothing: an operator who has set none gives you nothing to check.
    """
    networks = [ip_network(one.strip(), strict=False) for one in ranges]
    found = _read(address)
    return found is not None and any(found.version == one.version and found in one for one in networks)


def sender_of(peer: str, forwarded_for: str, *, proxies: Iterable[str]) -> str:
    """Give the address of whoever really sent a request that may have come through proxies of your own.

    ``peer`` is who connected, ``forwarded_for`` the X-Forwarded-For header, and ``proxies`` are your proxies' ranges.
    Anybody can send that header, so it is believed from right to left and only as far as your own proxies wrote it.
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
    # A socket that takes both kinds shows IPv4 addresses so.
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found

"""Detection of URLs that lead back to HookHub itself: such a webhook would publish its own deliveries as events."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from django.conf import settings

from deliveries.sending.url import InvalidURL, host_and_port_of, normalise_host


@dataclass(frozen=True, slots=True)
class OwnHosts:
    """The host names and ports at which this deployment is reached; ``.example.org`` includes all subdomains."""

    names: frozenset[str]
    ports: frozenset[int]
    # Host names that the operator allows as receivers anyway.
    allowed: Collection[str] = ()

    def reason_against(self, url: str) -> str | None:
        """Return a message why a normalized URL must not be a webhook's, or None if it does not lead here."""
        host, port = host_and_port_of(url)
        host = _unmapped(host)
        if port not in self.ports or host in self.allowed or not (self._names(host) or _is_loopback(host)):
            return None
        return (
            "The URL leads back to HookHub itself, so deliveries could loop. Use the receiver's address. "
            "The operator can allow the host in HOOKHUB_ALLOWED_HOSTS."
        )

    def _names(self, host: str) -> bool:
        # As in Django's ALLOWED_HOSTS, a leading dot matches the domain itself and all subdomains.
        return host in self.names or any(f".{host}".endswith(name) for name in self.names if name.startswith("."))


def own_hosts_from_settings() -> OwnHosts:
    """Return this deployment's host names and ports according to the settings."""
    public = urlsplit(settings.HOOKHUB_PUBLIC_URL)
    names = {_normalised(name) for name in [public.hostname or "", *settings.ALLOWED_HOSTS] if name not in {"", "*"}}
    ports = {80, 443, settings.HOOKHUB_PORT, public.port or 443}
    return OwnHosts(frozenset(names), frozenset(ports), settings.HOOKHUB_ALLOWED_HOSTS)


def _normalised(name: str) -> str:
    dot = "." if name.startswith(".") else ""
    try:
        return dot + _unmapped(normalise_host(name.removeprefix(".")))
    except InvalidURL:
        return name


def _unmapped(host: str) -> str:
    """Return the IPv4 address that an IPv6 address such as ``::ffff:192.0.2.7`` leads to; other hosts as they are."""
    try:
        mapped = IPv6Address(host).ipv4_mapped
    except ValueError:
        return host
    return host if mapped is None else str(mapped)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

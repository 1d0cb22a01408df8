"""Which URLs lead back to HookHub itself: webhooks there would publish what they deliver."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings

from deliveries.target import BadTarget, host_and_port_of, normalise_host


@dataclass(frozen=True, slots=True)
class OwnHosts:
    """Where this deployment is reached: host names, ``.example.org`` for all below it, and ports."""

    names: frozenset[str]
    ports: frozenset[int]
    # Host names the operator allows as receivers all the same.
    allowed: Collection[str] = ()

    def reason_against(self, url: str) -> str | None:
        """Return why a normalised URL cannot be a webhook's, or None."""
        host, port = host_and_port_of(url)
        if port not in self.ports or host in self.allowed or not (self._names(host) or _is_loopback(host)):
            return None
        return (
            "The URL leads back to HookHub itself, where a delivery would become an event again; "
            "use the address of the program that is to receive it. An operator can allow the host in "
            "HOOKHUB_ALLOWED_HOSTS."
        )

    def _names(self, host: str) -> bool:
        # As Django reads ALLOWED_HOSTS: a dot in front stands for the name itself and all below it.
        return host in self.names or any(f".{host}".endswith(name) for name in self.names if name.startswith("."))


def own_hosts_from_settings() -> OwnHosts:
    """Return where the settings say that this deployment is reached."""
    public = urlsplit(settings.HOOKHUB_PUBLIC_URL)
    names = {_normalised(name) for name in [public.hostname or "", *settings.ALLOWED_HOSTS] if name not in {"", "*"}}
    ports = {80, 443, settings.HOOKHUB_PORT, public.port or 443}
    return OwnHosts(frozenset(names), frozenset(ports), settings.HOOKHUB_ALLOWED_HOSTS)


def _normalised(name: str) -> str:
    dot = "." if name.startswith(".") else ""
    try:
        return dot + normalise_host(name.removeprefix("."))
    except BadTarget:
        return name


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

"""The kinds of hooks: `web`, any number of them in a repository, and services, at most one of each."""

from dataclasses import dataclass

from deliveries.models import Organization

CATALOGUE = "social-gateway"
# Wire formats of a hook of the kind `web`: the first, or the second if the organization has chosen it.
WEB_FORMATS = ("social-gateway", "github")


@dataclass(frozen=True, slots=True)
class Service:
    """A kind of hook: its wire format, or None for the organization's choice, and its settings.

    ``schema`` has the type and the name of each setting, as GitHub lists them.
    """

    name: str
    wire_format: str | None
    schema: tuple[tuple[str, str], ...]


WEB = Service(
    "web",
    None,
    (("string", "url"), ("string", "content_type"), ("password", "secret"), ("boolean", "insecure_ssl")),
)
SERVICES = {
    service.name: service
    for service in (
        WEB,
        Service("slack", "slack", (("password", "url"),)),
        Service("discord", "discord", (("password", "url"),)),
        Service("campfire", "campfire", (("string", "subdomain"), ("string", "room"), ("password", "token"))),
    )
}


def format_of(service: Service, organization: Organization) -> str:
    """Return the wire format of a new hook."""
    if service.wire_format is not None:
        return service.wire_format
    preferred = organization.wire_format
    return preferred if preferred in WEB_FORMATS else WEB_FORMATS[0]


def service_of(wire_format: str) -> Service:
    """Return the service that has this wire format, or ``web`` if none has."""
    return next((service for service in SERVICES.values() if service.wire_format == wire_format), WEB)

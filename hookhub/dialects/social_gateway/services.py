"""What a hook may be called: `web`, of which a repository may have many, and services, of which it has one each."""

from dataclasses import dataclass

from deliveries.models import Organization

CATALOGUE = "social-gateway"
# What a hook called `web` is sent in: the first, or the other where the organization has chosen it.
WEB_FORMATS = ("social-gateway", "github")


@dataclass(frozen=True, slots=True)
class Service:
    """A name that a hook may have: the wire format behind it, None for the organization's choice, and its settings.

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
    """Give the wire format of a new hook."""
    if service.wire_format is not None:
        return service.wire_format
    preferred = organization.wire_format
    return preferred if preferred in WEB_FORMATS else WEB_FORMATS[0]


def service_of(wire_format: str) -> Service:
    """Give the service that a webhook of this format is; `web` unless it talks to a chat."""
    return next((service for service in SERVICES.values() if service.wire_format == wire_format), WEB)

"""The registry of vendor systems (dialects). To add one, add a line below and a file in ``catalogue/``."""

from dataclasses import dataclass

DEFAULT = "native"


@dataclass(frozen=True, slots=True)
class System:
    """One vendor system: its slug, its name as the vendor writes it, and the slug of its receivers' wire format."""

    slug: str
    title: str
    wire_format: str


SYSTEMS: dict[str, System] = {
    system.slug: system
    for system in (
        System(DEFAULT, "HookHub's own", "standard-webhooks"),
        System("coregit", "Coregit", "coregit"),
        System("code-storage", "Code Storage", "code-storage"),
        System("sigmagit", "Sigmagit", "sigmagit"),
        System("social-gateway", "SocialGateway", "social-gateway"),
        System("codmir", "codmir", "codmir"),
    )
}


def choices() -> list[tuple[str, str]]:
    """Return (slug, title) of every system, for model fields and forms."""
    return [(slug, system.title) for slug, system in SYSTEMS.items()]

"""The registry of vendor systems (dialects). To add one, add a line below and a file in ``catalogue/``."""

from dataclasses import dataclass

DEFAULT = "native"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One vendor system: its slug, its name as the vendor writes it, and the slug of its receivers' wire format."""

    slug: str
    title: str
    wire_format: str


DIALECTS: dict[str, Dialect] = {
    dialect.slug: dialect
    for dialect in (
        Dialect(DEFAULT, "HookHub's own", "standard-webhooks"),
        Dialect("coregit", "Coregit", "coregit"),
        Dialect("code-storage", "Code Storage", "code-storage"),
        Dialect("sigmagit", "Sigmagit", "sigmagit"),
        Dialect("social-gateway", "SocialGateway", "social-gateway"),
        Dialect("codmir", "codmir", "codmir"),
    )
}


def choices() -> list[tuple[str, str]]:
    """Return (slug, title) of every dialect, for model fields and forms."""
    return [(slug, dialect.title) for slug, dialect in DIALECTS.items()]

"""Reads how people log in besides by a password, and configures django-allauth for it."""

from typing import Any, NamedTuple

# The id of the provider in the URLs of its pages.
PROVIDER = "sso"
APPS = [
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "hookhub.sso",
]
MIDDLEWARE = ["allauth.account.middleware.AccountMiddleware", "hookhub.sso.two_factor.RequireSecondFactor"]
TWO_FACTOR = ("off", "optional", "required")
ROLES = ("owner", "manager", "reader")
# What a login may be given for all organizations.
FLAGS = ("staff", "superuser")


class Rule(NamedTuple):
    """What a value of the claim gives: a role in an organization, or a flag if the organization is ``*``."""

    value: str
    organization: str
    role: str


def rules(text: str) -> tuple[Rule, ...]:
    """Parse ``value=organization:role`` separated by semicolons; raises ValueError."""
    found = []
    for part in filter(None, map(str.strip, text.split(";"))):
        value, _, grant = part.rpartition("=")
        organization, _, role = (each.strip() for each in grant.rpartition(":"))
        if not value.strip() or not organization or role not in (FLAGS if organization == "*" else ROLES):
            raise ValueError(f"{part!r} is not value=organization:role with one of {', '.join(ROLES)}")
        found.append(Rule(value.strip(), organization, role))
    return tuple(found)


def two_factor(text: str) -> str:
    """Parse whether a second factor is asked for; raises ValueError."""
    if text.lower() not in TWO_FACTOR:
        raise ValueError(f"use one of {', '.join(TWO_FACTOR)}")
    return text.lower()


def provider(issuer: str, *, client: str, secret: str, name: str, scopes: tuple[str, ...]) -> dict[str, Any]:
    """Return allauth's settings of the provider; none without an issuer."""
    app = {
        "provider_id": PROVIDER,
        "name": name,
        "client_id": client,
        "secret": secret,
        "settings": {"server_url": issuer, "oauth_pkce_enabled": True},
    }
    return {"openid_connect": {"APPS": [app] if issuer else [], "SCOPE": list(scopes)}}

"""Decides which roles the claims of a login give; pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

# From least to most.
ORDER = ("reader", "manager", "owner")


class Rule(Protocol):
    """What a value of the claim gives: a role in an organization, or a flag if the organization is ``*``."""

    @property
    def value(self) -> str: ...
    @property
    def organization(self) -> str: ...
    @property
    def role(self) -> str: ...


class Granted(NamedTuple):
    """The role in each organization that a rule names, None for none; and whether it is staff and a superuser.

    The last two are None if no rule is about them.
    """

    roles: Mapping[str, str | None]
    is_staff: bool | None
    is_superuser: bool | None


def values_of(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """Return the values of a claim, which may be a text or a list, inside of others as in ``realm_access.roles``."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return frozenset({found})
    return frozenset(each for each in found if isinstance(each, str)) if isinstance(found, list) else frozenset()


def decide(values: frozenset[str], rules: Iterable[Rule]) -> Granted:
    """Return what these values give by the rules; of several roles in an organization, the highest."""
    roles: dict[str, str | None] = {}
    flags: dict[str, bool] = {}
    for rule in rules:
        is_given = rule.value in values
        if rule.organization == "*":
            flags[rule.role] = flags.get(rule.role, False) or is_given
            continue
        before = roles.setdefault(rule.organization, None)
        if is_given and (before is None or ORDER.index(rule.role) > ORDER.index(before)):
            roles[rule.organization] = rule.role
    superuser = flags.get("superuser")
    staff = (flags.get("staff", False) or bool(superuser)) if flags else None
    return Granted(roles, staff, superuser)

"""The e-mail addresses of the people to notify."""

import re

from deliveries.plain_text import is_one_line
from hookhub import people
from hookhub.models import Membership

# No more than what keeps one address apart from a list of them: only the mail server knows which of them exist.
_ADDRESS = re.compile(r'[^@\s,;:<>()"]+@[^@\s,;:<>()"]+')


def owners_of(organization_id: int | None) -> list[str]:
    """Return the addresses of the active owners of an organization; without one, of the superusers.

    What is no address is left out: Django checks them in forms only, and the others would get no e-mail either.
    """
    field = people.email_field()
    if field is None:
        return []
    if organization_id is None:
        found = people.superusers()
    else:
        owners = Membership.objects.filter(organization=organization_id, role=Membership.Role.OWNER)
        found = people.active_people().filter(pk__in=owners.values("user_id"))
    return sorted(filter(is_address, found.values_list(field, flat=True)))


def is_address(text: str | None) -> bool:
    """Return whether a text may be the address of one person."""
    return text is not None and is_one_line(text) and _ADDRESS.fullmatch(text) is not None

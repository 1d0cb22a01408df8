"""The e-mail addresses of the people to notify."""

from hookhub import people
from hookhub.models import Membership


def owners_of(organization_id: int | None) -> list[str]:
    """Return the addresses of the active owners of an organization; without one, of the superusers."""
    field = people.email_field()
    if field is None:
        return []
    if organization_id is None:
        found = people.superusers()
    else:
        owners = Membership.objects.filter(organization=organization_id, role=Membership.Role.OWNER)
        found = people.active_people().filter(pk__in=owners.values("user_id"))
    return sorted(filter(None, found.values_list(field, flat=True)))

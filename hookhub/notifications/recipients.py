"""The e-mail addresses of the people to notify."""

from django.contrib.auth.models import User
from django.db.models import QuerySet

from hookhub.models import Membership


def owners_of(organization_id: int | None) -> list[str]:
    """Return the addresses of the active owners of an organization; without one, of the superusers."""
    people: QuerySet[User] = User.objects.filter(is_active=True).exclude(email="")
    if organization_id is None:
        people = people.filter(is_superuser=True)
    else:
        owners = Membership.objects.filter(organization=organization_id, role=Membership.Role.OWNER)
        people = people.filter(pk__in=owners.values("user_id"))
    return sorted(people.values_list("email", flat=True))

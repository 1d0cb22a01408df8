"""Which rows of the admin belong to a person: those of the organizations that the person is a member of.

A superuser sees and changes everything. Every other member of staff sees the rows of the own organizations only, and
changes them with a membership whose role is enough for the same change through the API; without any membership there
is nothing to see.
"""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from deliveries.models import Organization
from hookhub.models import INCLUDED, Membership, Scope


def is_unrestricted(request: HttpRequest) -> bool:
    """Return whether the person sees the rows of every organization."""
    return bool(request.user.is_active and request.user.is_superuser)


def organizations_of(request: HttpRequest, *, scope: Scope = Scope.READ) -> QuerySet[Organization]:
    """Return the organizations in which the person has ``scope``; all of them for a superuser."""
    if is_unrestricted(request):
        return Organization.objects.all()
    if not isinstance(request.user, User):
        return Organization.objects.none()
    roles = [role for role, held in Membership.SCOPES.items() if scope in INCLUDED[held]]
    memberships = Membership.objects.filter(user=request.user, role__in=roles)
    return Organization.objects.filter(pk__in=memberships.values("organization_id"))


def rows_of(rows: QuerySet[Any], path: str | None, organizations: QuerySet[Organization]) -> QuerySet[Any]:
    """Return those rows whose organization, found along ``path``, is one of these; none without a path."""
    if path is None:
        return rows.none()
    # Read first: a list of constants lets the planner use the index that a log is walked by.
    return rows.filter(**{f"{path}__in": list(organizations.values_list("pk", flat=True))})

"""Limits the admin's rows to the organizations of which the user is a member.

A superuser sees and changes everything. Other staff see only the rows of their own organizations, and can change them
if their role allows the same change through the API. Without a membership they see nothing.
"""

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import QuerySet
from django.http import HttpRequest

from deliveries.models import Organization
from hookhub import people
from hookhub.models import INCLUDED, Membership, Scope


def is_unrestricted(request: HttpRequest) -> bool:
    """Return whether the user sees the rows of every organization."""
    return people.is_superuser(request.user)


def organizations_of(request: HttpRequest, *, scope: Scope = Scope.READ) -> QuerySet[Organization]:
    """Return the organizations in which the user has ``scope``; all of them for a superuser."""
    if is_unrestricted(request):
        return Organization.objects.all()
    if not isinstance(request.user, AbstractBaseUser):
        return Organization.objects.none()
    roles = [role for role, held in Membership.SCOPES.items() if scope in INCLUDED[held]]
    memberships = Membership.objects.filter(user=request.user, role__in=roles)
    return Organization.objects.filter(pk__in=memberships.values("organization_id"))


def rows_of(rows: QuerySet[Any], path: str | None, organizations: QuerySet[Organization]) -> QuerySet[Any]:
    """Return the rows whose organization, found along ``path``, is one of the given ones; none without a path."""
    if path is None:
        return rows.none()
    # Load the ids first: given constants, the planner can use the index that the log is sorted by.
    return rows.filter(**{f"{path}__in": list(organizations.values_list("pk", flat=True))})

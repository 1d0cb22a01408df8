"""Uniqueness of organization and repository names regardless of case, which unique constraints enforce.

Paths in GitHub's form are case-insensitive, so names that differ only in case would be ambiguous.
"""

from collections.abc import Collection

from django.db import IntegrityError
from django.db.models import QuerySet
from django.db.models.functions import Lower

from deliveries.models import Organization, Repository

# The name of each unique constraint and the field that violates it.
CONSTRAINTS = {
    "organization_slug_in_any_case_unique": "slug",
    "repository_name_in_any_case_unique": "name",
    "repository_name_unique": "name",
}


def field_of(row: Organization | Repository) -> str:
    """Return the field that holds the row's name."""
    return "slug" if isinstance(row, Organization) else "name"


def violated_field(error: IntegrityError) -> str | None:
    """Return the field whose name another transaction has taken, or None if the error has another cause."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return CONSTRAINTS.get(getattr(diagnosis, "constraint_name", None) or "")


def name_error(row: Organization | Repository, name: str) -> str | None:
    """Return why ``row`` cannot have ``name`` next to the names of other rows, or None.

    This check provides the error message. The unique constraints decide between concurrent transactions.
    """
    if isinstance(row, Organization):
        others = in_any_case([name], Organization.objects.exclude(pk=row.pk), field="slug")
    else:
        of_same_owner = Repository.objects.filter(organization=row.organization_id)
        others = in_any_case([name], of_same_owner.exclude(pk=row.pk))
    if not others:
        return None
    other = others[name]
    return "is already taken; choose another" if other == name else f"differs from {other} only in case; choose another"


def in_any_case(
    names: Collection[str], rows: "QuerySet[Organization] | QuerySet[Repository]", *, field: str = "name"
) -> dict[str, str]:
    """Return those of ``names`` that equal a row's name except for case, each mapped to the row's spelling."""
    same = rows.alias(folded=Lower(field)).filter(folded__in={name.lower() for name in names})
    spelled = {name.lower(): name for name in same.values_list(field, flat=True)}
    return {name: spelled[name.lower()] for name in names if name.lower() in spelled}

"""Names of organizations and repositories: no two of them differ in case only, which unique constraints enforce.

Paths of GitHub's form name both in any case, so such a pair could not be told apart. Rows that had such names before
that was refused keep them: ``kept_slug`` and ``kept_name`` say which.
"""

from collections.abc import Collection

from django.db import IntegrityError
from django.db.models import QuerySet
from django.db.models.functions import Lower

from deliveries.models import Organization, Repository

# By constraint, the field that a name violates it with.
CONSTRAINTS = {
    "organization_slug_in_any_case_unique": "slug",
    "repository_name_in_any_case_unique": "name",
    "repository_name_unique": "name",
}


def field_of(row: Organization | Repository) -> str:
    """Return the field that holds the name."""
    return "slug" if isinstance(row, Organization) else "name"


def violated_field(error: IntegrityError) -> str | None:
    """Return the field whose name was taken at the same moment, or None when the error is about something else."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return CONSTRAINTS.get(getattr(diagnosis, "constraint_name", None) or "")


def name_error(row: Organization | Repository, name: str) -> str | None:
    """Return what is wrong with a name that a row is to have, beside the names of the others, or None.

    It finds the words for a refusal; where two rows get their names at once, the constraints refuse the second.
    """
    if isinstance(row, Organization):
        others = in_any_case([name], Organization.objects.exclude(pk=row.pk), field="slug")
    else:
        of_same_owner = Repository.objects.filter(organization=row.organization_id)
        others = in_any_case([name], of_same_owner.exclude(pk=row.pk))
    if not others:
        return None
    other = others[name]
    return "is taken; choose another" if other == name else f"differs from {other} in case only; choose another"


def in_any_case(
    names: Collection[str], rows: "QuerySet[Organization] | QuerySet[Repository]", *, field: str = "name"
) -> dict[str, str]:
    """Return those of the names that a row has in any case, each with the name as the row has it."""
    same = rows.alias(folded=Lower(field)).filter(folded__in={name.lower() for name in names})
    found = list(same.order_by("-pk").values_list(field, flat=True))
    oldest = {name.lower(): name for name in found}
    return {name: name if name in found else oldest[name.lower()] for name in names if name.lower() in oldest}

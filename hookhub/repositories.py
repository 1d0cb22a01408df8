"""Repositories that are created by the first event about them, where an organization wants that."""

from collections.abc import Collection
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from deliveries import audit
from deliveries.models import NAME, Organization, Repository
from hookhub.audited import audited

# A key that may only publish must not fill the database with names.
MAX_REPOSITORIES = 10_000
MAX_AT_ONCE = 100


def creatable(names: Collection[str], *, organization: Organization) -> set[str]:
    """Return the names that events may create repositories of, none of which is there; no name at all past a bound."""
    valid = {name for name in names if _is_name(name)}
    if len(valid) > MAX_AT_ONCE:
        return set()
    there = Repository.objects.filter(organization=organization)[: MAX_REPOSITORIES + 1].count()
    return valid if there + len(valid) <= MAX_REPOSITORIES else set()


def create(names: Collection[str], *, organization: Organization, now: datetime) -> dict[str, int]:
    """Create repositories, and return the ids of these and of those that another request was first to create."""
    with transaction.atomic():
        # One request after the other, so that each sees what the one before has created.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        found = dict(Repository.objects.filter(organization=organization, name__in=names).values_list("name", "id"))
        for name in sorted(set(names) - found.keys()):
            try:
                with transaction.atomic():
                    repository = Repository.objects.create(organization=organization, name=name, created_at=now)
            except IntegrityError:
                # Created by hand at this moment, which takes no such lock.
                found |= dict(Repository.objects.filter(organization=organization, name=name).values_list("name", "id"))
                continue
            target, state = audited(repository)
            audit.record("repository.created", target=target, after=state, now=now)
            found[name] = repository.pk
    return found


def _is_name(name: str) -> bool:
    try:
        NAME(name)
    except ValidationError:
        return False
    # Paths are normalised by clients and proxies before they reach an API under such a name.
    return name not in {".", ".."}

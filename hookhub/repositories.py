"""Repositories that are created by the first event about them, where an organization wants that."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from deliveries import audit, plain_text
from deliveries.models import NAME, Organization, Repository
from deliveries.names import in_any_case
from hookhub.audited import audited

# A key that may only publish must not fill the database with names.
MAX_REPOSITORIES = 10_000
MAX_AT_ONCE = 100


def creatable(names: Collection[str], *, organization: Organization) -> set[str]:
    """Return the names that events may create repositories of, none of which is there; no name at all past a bound.

    A name that another repository has in another case is none of them, nor are two that differ in case only.
    """
    valid = {name for name in names if _is_name(name)}
    if len(valid) > MAX_AT_ONCE:
        return set()
    rows = Repository.objects.filter(organization=organization)
    if rows[: MAX_REPOSITORIES + 1].count() + len(valid) > MAX_REPOSITORIES:
        return set()
    times, taken = Counter(name.lower() for name in valid), in_any_case(valid, rows)
    return {name for name in valid if times[name.lower()] == 1 and name not in taken}


def in_another_case(names: Collection[str], *, organization: Organization) -> dict[str, str]:
    """Return those of the names, none of which is there, that differ from another in case only, each with that one.

    The other one is a repository's, or where events create repositories one of these names too.
    """
    valid = sorted(name for name in names if _is_name(name))[:MAX_AT_ONCE]
    twins = {}
    if organization.create_repositories:
        twins = {one: two for one in valid for two in valid if one != two and one.lower() == two.lower()}
    return twins | in_any_case(valid, Repository.objects.filter(organization=organization))


def create(names: Collection[str], *, organization: Organization, now: datetime) -> dict[str, int]:
    """Create repositories, and return the ids of these and of those that another request was first to create.

    Where a name was taken in another case meanwhile, none is created.
    """
    with transaction.atomic():
        # One request after the other, so that each sees what the one before has created.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        known = dict(Repository.objects.filter(organization=organization, name__in=names).values_list("name", "id"))
        found = dict(known)
        for name in sorted(set(names) - found.keys()):
            try:
                with transaction.atomic():
                    repository = Repository.objects.create(organization=organization, name=name, created_at=now)
            except IntegrityError:
                # Created by hand at this moment, which takes no such lock.
                there = dict(Repository.objects.filter(organization=organization, name=name).values_list("name", "id"))
                if not there:
                    transaction.set_rollback(True)
                    return known
                found |= there
                continue
            target, state = audited(repository)
            audit.record("repository.created", target=target, after=state, now=now)
            found[name] = repository.pk
    return found


def _is_name(name: str) -> bool:
    try:
        NAME(name)
        plain_text.validate(name)
    except ValidationError:
        return False
    # Paths are normalised by clients and proxies before they reach an API under such a name.
    return name not in {".", ".."}

"""Creates repositories for the first events about them, if the organization allows it."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from deliveries import audit, plain_text
from deliveries.models import NAME, Organization, Repository
from deliveries.names import in_any_case
from hookhub.audited import audited

# A publish-only key must not be able to fill the database with repositories.
MAX_REPOSITORIES = 10_000
MAX_AT_ONCE = 100


def creatable(names: Collection[str], *, organization: Organization) -> set[str]:
    """Return the ``names`` that events may create repositories with, or an empty set beyond a limit.

    A name that differs only in case from an existing repository's, or from another of ``names``, is left out. A name
    that a concurrent request has created meanwhile is not: ``create`` returns that repository.
    """
    valid = {name for name in names if _is_name(name)}
    if len(valid) > MAX_AT_ONCE:
        return set()
    rows = Repository.objects.filter(organization=organization)
    if rows[: MAX_REPOSITORIES + 1].count() + len(valid) > MAX_REPOSITORIES:
        return set()
    times, taken = Counter(name.lower() for name in valid), in_any_case(valid, rows)
    return {name for name in valid if times[name.lower()] == 1 and taken.get(name, name) == name}


def in_another_case(names: Collection[str], *, organization: Organization) -> dict[str, str]:
    """Return those ``names`` that differ from another name only in case, each with that other name.

    The other name is an existing repository's or, if events create repositories, one of ``names``.
    """
    valid = sorted(name for name in names if _is_name(name))[:MAX_AT_ONCE]
    twins = {}
    if organization.create_repositories:
        twins = {one: two for one in valid for two in valid if one != two and one.lower() == two.lower()}
    similar = in_any_case(valid, Repository.objects.filter(organization=organization))
    return twins | {name: other for name, other in similar.items() if name != other}


def create(names: Collection[str], *, organization: Organization, now: datetime) -> dict[str, int]:
    """Create repositories and return their ids by name, including those that a concurrent request created.

    If a name is taken in another case meanwhile, create none and return only those that existed before.
    """
    with transaction.atomic():
        # Serialize requests, so that each sees what the previous one created.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        known = dict(Repository.objects.filter(organization=organization, name__in=names).values_list("name", "id"))
        found = dict(known)
        for name in sorted(set(names) - found.keys()):
            try:
                with transaction.atomic():
                    repository = Repository.objects.create(organization=organization, name=name, created_at=now)
            except IntegrityError:
                # Created concurrently by a user, whose request does not take this lock.
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
    # Clients and proxies resolve these path segments before an API request reaches us.
    return name not in {".", ".."}

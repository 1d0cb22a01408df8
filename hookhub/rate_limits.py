"""The limits that requests meet: by address before anything is read, by key and organization once they are known."""

import time
from collections.abc import Sequence

from django.conf import settings

from deliveries import rates
from deliveries.limits import limit_of
from deliveries.models import Organization
from deliveries.rates import Policy, Standing
from hookhub.client_address import subject_of
from hookhub.models import ApiKey

BY_ADDRESS = Policy("address")
BY_KEY = Policy("key")
BY_ORGANIZATION = Policy("organization")
EVENTS_BY_KEY = Policy("events-of-key")
EVENTS_BY_ORGANIZATION = Policy("events-of-organization")


def require_address(address: str) -> None:
    """Raise TooMany where an address has made as many requests as it may; nothing is counted."""
    quota = settings.HOOKHUB_REQUESTS_PER_ADDRESS
    if quota:
        standing = rates.counters().look(BY_ADDRESS, subject_of(address), quota=quota, now=time.time())
        if standing.remaining < 1:
            raise rates.TooMany(standing)


def count_address(address: str) -> None:
    """Count one request of an address."""
    if settings.HOOKHUB_REQUESTS_PER_ADDRESS:
        rates.counters().spend(BY_ADDRESS, subject_of(address), now=time.time())


def take_request(caller: str, organization: Organization | None) -> list[Standing]:
    """Count one request of a key or a person, and of the organization where it is known; raises TooMany."""
    now = time.time()
    found = [rates.take(BY_KEY, caller, quota=settings.HOOKHUB_REQUESTS_PER_KEY, now=now)]
    if organization is not None:
        quota = limit_of(organization, "requests_per_minute")
        found.append(rates.take(BY_ORGANIZATION, str(organization.pk), quota=quota, now=now))
    return [standing for standing in found if standing is not None]


def look_requests(caller: str, organization: Organization | None) -> list[Standing]:
    """Return where a key or a person stands with the limits of ``take_request``; nothing is counted."""
    quotas = [(BY_KEY, caller, settings.HOOKHUB_REQUESTS_PER_KEY)]
    if organization is not None:
        quotas.append((BY_ORGANIZATION, str(organization.pk), limit_of(organization, "requests_per_minute")))
    now = time.time()
    return [rates.counters().look(policy, subject, quota=quota, now=now) for policy, subject, quota in quotas if quota]


def require_events(key: ApiKey) -> None:
    """Raise TooMany where a key may publish nothing at present; asked before its events are read."""
    now = time.time()
    quotas = [(EVENTS_BY_KEY, key.key_id, settings.HOOKHUB_EVENTS_PER_KEY)]
    if key.organization is not None:
        limit = limit_of(key.organization, "events_per_minute")
        quotas.append((EVENTS_BY_ORGANIZATION, str(key.organization_id), limit))
    for policy, subject, quota in quotas:
        if quota:
            standing = rates.counters().look(policy, subject, quota=quota, now=now)
            if standing.remaining < 1:
                raise rates.TooMany(standing)


def take_events(count: int, *, caller: str, organization: Organization) -> list[Standing]:
    """Count events of a key or a person and of its organization; raises TooMany."""
    now = time.time()
    by_key = rates.take(EVENTS_BY_KEY, caller, count, quota=settings.HOOKHUB_EVENTS_PER_KEY, now=now)
    limit = limit_of(organization, "events_per_minute")
    by_organization = rates.take(EVENTS_BY_ORGANIZATION, str(organization.pk), count, quota=limit, now=now)
    return [standing for standing in (by_key, by_organization) if standing is not None]


def headers_of(standings: Sequence[Standing]) -> dict[str, str]:
    """Return RateLimit and RateLimit-Policy as draft-ietf-httpapi-ratelimit-headers has them; none without limits."""
    if not standings:
        return {}
    seconds = [f"{each.policy.window.total_seconds():g}" for each in standings]
    policies = (f'"{each.policy.name}";q={each.quota};w={w}' for each, w in zip(standings, seconds, strict=True))
    rests = (f'"{each.policy.name}";r={each.remaining};t={each.reset}' for each in standings)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(rests)}


def refusal_headers(standing: Standing) -> dict[str, str]:
    """Return the headers of a 429."""
    return {"Retry-After": str(standing.reset), **headers_of([standing])}

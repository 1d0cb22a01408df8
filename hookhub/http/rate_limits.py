"""Rate limits: by address before a request is read, by key and organization once they are known."""

import time
from collections.abc import Sequence
from functools import lru_cache

from django.conf import settings

from deliveries import rates
from deliveries.limits import limit_of
from deliveries.models import Organization, Webhook
from deliveries.rates import Policy, Standing
from hookhub.http.client_address import subject_of
from hookhub.models import ApiKey

BY_ADDRESS = Policy("address")
BY_KEY = Policy("key")
BY_ORGANIZATION = Policy("organization")
EVENTS_BY_KEY = Policy("events-of-key")
TESTS_BY_WEBHOOK = Policy("test-events")
EVENTS_BY_ORGANIZATION = Policy("events-of-organization")


def require_address(address: str) -> None:
    """Raise TooMany if an address has used up its requests; count nothing."""
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
    """Count one request of a key or user, and of the organization if known; return the limits or raise TooMany."""
    return rates.take_all(_limits_of_requests(caller, organization), now=time.time())


def take_test(webhook: Webhook) -> None:
    """Count one test event of a webhook; raise TooMany. They are not published, so the limits of events count none."""
    rates.take(TESTS_BY_WEBHOOK, str(webhook.pk), quota=settings.HOOKHUB_TEST_EVENTS, now=time.time())


def require_events(key: ApiKey) -> None:
    """Raise TooMany if a key has used up its events; checked before the events are read."""
    for standing in rates.look_all(_limits_of_events(key.key_id, key.organization), now=time.time()):
        if standing.remaining < 1:
            raise rates.TooMany(standing)


# A class, because contextlib's generators cost as much as the counting.
class taking_events:  # noqa: N801 - it is used like a function
    """Count events of a key or user and of its organization while they are stored; raise TooMany.

    If storing them raises, the count is taken back: a publisher that retries until the database is back must not be
    rejected then.
    """

    __slots__ = ("_count", "_limits")

    def __init__(self, count: int, *, caller: str, organization: Organization) -> None:
        self._count = count
        self._limits = _limits_of_events(caller, organization)

    def __enter__(self) -> list[Standing]:
        """Count the events and return the limits; raise TooMany."""
        return rates.take_all(self._limits, self._count, now=time.time())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Take the count back after an exception."""
        if kind is not None:
            subjects = [(policy, subject) for policy, subject, quota in self._limits if quota]
            rates.counters().spend_all(subjects, -self._count, now=time.time())


def _limits_of_requests(caller: str, organization: Organization | None) -> list[tuple[Policy, str, int]]:
    limits = [(BY_KEY, caller, settings.HOOKHUB_REQUESTS_PER_KEY)]
    if organization is not None:
        limits.append((BY_ORGANIZATION, str(organization.pk), limit_of(organization, "requests_per_minute")))
    return limits


def _limits_of_events(caller: str, organization: Organization | None) -> list[tuple[Policy, str, int]]:
    limits = [(EVENTS_BY_KEY, caller, settings.HOOKHUB_EVENTS_PER_KEY)]
    if organization is not None:
        limits.append((EVENTS_BY_ORGANIZATION, str(organization.pk), limit_of(organization, "events_per_minute")))
    return limits


def headers_of(standings: Sequence[Standing]) -> dict[str, str]:
    """Return RateLimit and RateLimit-Policy as in draft-ietf-httpapi-ratelimit-headers; nothing without limits."""
    if not standings:
        return {}
    return {
        "RateLimit-Policy": ", ".join([_policy(each.policy, each.quota) for each in standings]),
        "RateLimit": ", ".join([f'"{each.policy.name}";r={each.remaining};t={each.reset}' for each in standings]),
    }


@lru_cache(maxsize=1024)
def _policy(policy: Policy, quota: int) -> str:
    return f'"{policy.name}";q={quota};w={policy.window.total_seconds():g}'


def refusal_headers(standing: Standing) -> dict[str, str]:
    """Return the headers of a 429 response."""
    return {"Retry-After": str(standing.reset), **headers_of([standing])}

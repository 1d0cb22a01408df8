"""The fast path of `POST /v1/events` with an API key: no session, no content negotiation, few database queries."""

import json
from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.exceptions import APIException

from deliveries.events import NameSnapshot, StaleNames
from deliveries.models import Organization
from deliveries.rates import TooMany
from hookhub.event_types import registry
from hookhub.http import authentication, errors, rate_limits
from hookhub.http.access_log import name_caller
from hookhub.http.authorization import organization_of, require
from hookhub.http.parsers import whole
from hookhub.models import ApiKey, Scope
from hookhub.publishing import parse
from hookhub.publishing.publish import store
from hookhub.publishing.translate import new_events, organization_named, repository_ids, repository_names, with_keys
from hookhub.publishing.validate import validate_data
from hookhub.row_cache import RowCache

JSON = "application/json"
CONTENT_TYPES = parse.NDJSON | {JSON}
# Accept headers sent by programs that read JSON; any other one needs the framework's content negotiation.
ACCEPTED = frozenset({"*/*", JSON, "application/json, */*", "application/json, text/plain, */*"})

_organizations = RowCache[tuple[int, str], Organization]()
_repositories = RowCache[tuple[int, str], int]()


def accept(request: HttpRequest) -> HttpResponse | None:
    """Store published events and return the 202, or return None for a request that the DRF path must handle.

    Lookups here may be a few seconds stale, so this path only accepts: a request that it would refuse returns None, and
    the DRF view decides it against the database and renders the error. The statement that stores the events re-checks
    cached names. Only an exceeded rate limit (429) and an unavailable database (503) are answered here.
    """
    if not _is_plain(request):
        return None
    try:
        body, headers = _accept(request, now=timezone.now())
    except TooMany as error:
        return errors.as_plain(errors.throttled(error))
    except (APIException, Http404, PermissionDenied, DataError, UnicodeEncodeError, StaleNames):
        return None
    except (OperationalError, InterfaceError) as error:
        # Only the caller may retry: the events may have been stored.
        return errors.as_plain(errors.unavailable(error))
    content = json.dumps(body, separators=(",", ":")).encode()
    headers["Content-Length"] = str(len(content))
    return HttpResponse(content, status=202, content_type=JSON, headers=headers)


def _is_plain(request: HttpRequest) -> bool:
    """Return whether a request has credentials and a JSON body and accepts a JSON response."""
    environ = request.META
    return (
        "HTTP_AUTHORIZATION" in environ
        and environ.get("HTTP_ACCEPT", "*/*") in ACCEPTED
        and environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() in CONTENT_TYPES
        and (not environ.get("QUERY_STRING") or _names_organization_alone(request))
        and environ.get("CONTENT_LENGTH", "").isdecimal()
        and int(environ["CONTENT_LENGTH"]) <= settings.HOOKHUB_REQUEST_LIMIT
    )


def _names_organization_alone(request: HttpRequest) -> bool:
    return set(request.GET) == {"organization"} and request.GET["organization"] != ""


def _accept(request: HttpRequest, *, now: datetime) -> tuple[object, dict[str, str]]:
    """Do what the DRF view does, with cached lookups."""
    key_id, secret = authentication.read_header(request.META["HTTP_AUTHORIZATION"])
    key = authentication.verified(authentication.cached_key(key_id, now=now), secret, request=request, now=now)
    if settings.HOOKHUB_ACCESS_LOG:
        name_caller(request.META, key)
    require(Scope.PUBLISH, held=Scope(key.scope))
    rate_limits.require_events(key)
    content = whole(request.body, request)
    parsed = parse.read_once(request.META, content, request.META["CONTENT_TYPE"])
    organization = _organization(request, key, organization_named(parsed), now=now)
    if organization.validate_events:
        validate_data(parsed, organization=organization, custom=registry.cached_custom(organization, now=now))
    repositories = _ids_of(repository_names(parsed, organization=organization).values(), organization, now=now)
    hops = parse.hops_of(request.META.get("HTTP_HOOKHUB_HOPS"))
    events = new_events(parsed, organization=organization, repositories=repositories, hops=hops, now=now)
    events = with_keys(events, parsed, header=request.META.get("HTTP_IDEMPOTENCY_KEY"), content=content)
    names = {repository_id: name for name, repository_id in repositories.items()}
    snapshot = NameSnapshot({organization.pk: organization.slug}, names)
    return store(events, parsed, organization=organization, caller=key.key_id, snapshot=snapshot, now=now)


def _organization(request: HttpRequest, key: ApiKey, named: str | None, *, now: datetime) -> Organization:
    """Return the organization a key acts in; an implied only one is not cached, because another may be created."""
    if named is None and request.META.get("QUERY_STRING"):
        named = request.GET.get("organization")
    if key.organization is not None or named is None:
        return organization_of(key, named)
    found = _organizations.get((key.pk, named), now=now)
    if found is None:
        generation = _organizations.generation
        found = organization_of(key, named)
        _organizations.put((key.pk, named), found, now=now, generation=generation)
    return found


def _ids_of(names: Iterable[str], organization: Organization, *, now: datetime) -> dict[str, int]:
    """Return the ids, by name, of those of an organization's repositories that have one of these names."""
    found = {name: _repositories.get((organization.pk, name), now=now) for name in names}
    known = {name: repository_id for name, repository_id in found.items() if repository_id is not None}
    if len(known) < len(found):
        generation = _repositories.generation
        for name, repository_id in repository_ids(found.keys() - known.keys(), organization=organization).items():
            known[name] = repository_id
            _repositories.put((organization.pk, name), repository_id, now=now, generation=generation)
    return known


def invalidate_organization(organization_id: int) -> None:
    """Drop a changed or deleted organization and its repositories from this process's cache."""
    _organizations.evict_where(lambda _, organization: organization.pk == organization_id)
    _repositories.evict_where(lambda key, _: key[0] == organization_id)


def invalidate_all() -> None:
    """Clear this process's cache of organizations and repositories."""
    _organizations.clear()
    _repositories.clear()

"""The fast path of `POST /v1/events` with an API key: no session, no content negotiation, few database queries.

Lookups here may be a few seconds stale, so this path only accepts: what it would refuse is left to the DRF view, which
decides it against the database and renders the error. The statement that stores the events re-checks cached names.
"""

import json
import re
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework.exceptions import APIException

from deliveries import telemetry, timezone
from deliveries.events import Batch, NameSnapshot, StaleNames
from deliveries.models import Organization
from deliveries.rates import TooMany
from deliveries.telemetry import AcceptSpan
from hookhub.event_types import registry
from hookhub.http import authentication, errors, rate_limits
from hookhub.http.access_log import name_caller, name_trace
from hookhub.http.authorization import organization_of, require
from hookhub.http.parsers import max_body, whole
from hookhub.models import ApiKey, Scope
from hookhub.publishing import parse
from hookhub.publishing.parse import ParsedRequest
from hookhub.publishing.publish import store
from hookhub.publishing.translate import new_events, organization_named, repository_ids, repository_names, with_keys
from hookhub.publishing.validate import validate_data
from hookhub.row_cache import RowCache

JSON = "application/json"
CONTENT_TYPES = parse.NDJSON | {JSON}
# Accept headers sent by programs that read JSON; any other one needs the framework's content negotiation.
ACCEPTED = frozenset({"*/*", JSON, "application/json, */*", "application/json, text/plain, */*"})
ORGANIZATION_IN_QUERY = re.compile(r"organization=([A-Za-z0-9._-]{1,100})", re.ASCII)
# What the DRF view must answer, or what it may be able to accept.
LEFT_TO_THE_VIEW = (APIException, Http404, PermissionDenied, DataError, UnicodeEncodeError, StaleNames)

_organizations = RowCache[tuple[int, str], Organization]()
_repositories = RowCache[tuple[int, str], int]()


class NotRemembered(Exception):
    """A row is not in this process's memory, or must be written."""


class Publication(NamedTuple):
    """A request's events, ready to be stored, and the facts that its response needs."""

    batch: Batch
    parsed: ParsedRequest
    organization: Organization
    caller: str
    span: AcceptSpan


def accept(request: HttpRequest) -> HttpResponse | None:
    """Store published events and return the 202, or return None for a request that the DRF path must handle.

    Only an exceeded rate limit (429) and an unavailable database (503) are answered here.
    """
    environ, now = request.META, timezone.now()
    if not is_plain(environ) or not _is_within_limit(environ):
        return None
    try:
        found = prepare(environ, whole(request.body, request), may_query=True, now=now)
        body, headers = store(
            found.batch.events, found.parsed, organization=found.organization, caller=found.caller,
            snapshot=found.batch.snapshot, now=now,
        )  # fmt: skip
        telemetry.end_accept(found.span, events=len(found.batch.events))
    except TooMany as error:
        return errors.as_plain(errors.throttled(error))
    except LEFT_TO_THE_VIEW:
        return None
    except (OperationalError, InterfaceError) as error:
        # Only the caller may retry: the events may have been stored.
        return errors.as_plain(errors.unavailable(error))
    content = as_json(body)
    headers["Content-Length"] = str(len(content))
    return HttpResponse(content, status=202, content_type=JSON, headers=headers)


def as_json(body: object) -> bytes:
    """Return the content of a response."""
    return json.dumps(body, separators=(",", ":")).encode()


def is_plain(environ: Mapping[str, Any]) -> bool:
    """Return whether a request has credentials and a JSON body and accepts a JSON response."""
    query = environ.get("QUERY_STRING")
    return (
        "HTTP_AUTHORIZATION" in environ
        and environ.get("HTTP_ACCEPT", "*/*") in ACCEPTED
        and environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() in CONTENT_TYPES
        and (not query or ORGANIZATION_IN_QUERY.fullmatch(query) is not None)
    )


def _is_within_limit(environ: Mapping[str, Any]) -> bool:
    length = environ.get("CONTENT_LENGTH", "")
    return bool(length.isdecimal()) and int(length) <= max_body()


def prepare(environ: MutableMapping[str, Any], content: bytes, *, may_query: bool, now: datetime) -> Publication:
    """Do what the DRF view does before it stores anything, with cached lookups.

    Raise what the view would raise, or TooMany. Unless it ``may_query``, raise NotRemembered instead of querying.
    """
    key = _key(environ, may_query=may_query, now=now)
    if settings.HOOKHUB_ACCESS_LOG:
        name_caller(environ, key)
    require(Scope.PUBLISH, held=Scope(key.scope))
    if may_query:
        # In memory, counting the events once they are parsed refuses them just as well.
        rate_limits.require_events(key)
    parsed = parse.read_once(environ, content, environ["CONTENT_TYPE"])
    organization = _organization(environ, key, organization_named(parsed), may_query=may_query, now=now)
    if organization.validate_events:
        # Not on the event loop: checking a schema may take milliseconds.
        _require(may_query=may_query)
        validate_data(parsed, organization=organization, custom=registry.cached_custom(organization, now=now))
    named = repository_names(parsed, organization=organization).values()
    repositories = _ids_of(named, organization, may_query=may_query, now=now)
    hops = parse.hops_of(environ.get("HTTP_HOOKHUB_HOPS"))
    span = telemetry.begin_accept(parse.trace_of(environ))
    events = new_events(
        parsed, organization=organization, repositories=repositories, hops=hops, trace=span.own, now=now
    )
    if span.own is not None:
        name_trace(environ, span.own)
    events = with_keys(events, parsed, header=environ.get("HTTP_IDEMPOTENCY_KEY"), content=content)
    names = {repository_id: name for name, repository_id in repositories.items()}
    snapshot = NameSnapshot({organization.pk: organization.slug}, names)
    return Publication(Batch(events, snapshot), parsed, organization, key.key_id, span)


def _require(*, may_query: bool) -> None:
    if not may_query:
        raise NotRemembered


def _key(environ: MutableMapping[str, Any], *, may_query: bool, now: datetime) -> ApiKey:
    key_id, secret = authentication.read_header_unchecked(environ["HTTP_AUTHORIZATION"])
    key = authentication.remembered_key(key_id, now=now)
    if key is None or not authentication.is_use_recorded(key, now=now):
        _require(may_query=may_query)
        authentication.require_checksum(key_id, secret)
        key = authentication.cached_key(key_id, now=now)
    return authentication.verified(key, secret, environ=environ, now=now)


def _organization(
    environ: MutableMapping[str, Any], key: ApiKey, named: str | None, *, may_query: bool, now: datetime
) -> Organization:
    """Return the organization a key acts in; an implied only one is not cached, because another may be created."""
    if named is None and (in_query := ORGANIZATION_IN_QUERY.fullmatch(environ.get("QUERY_STRING") or "")):
        named = in_query[1]
    if key.organization is not None:
        return organization_of(key, named)
    if named is None:
        _require(may_query=may_query)
        return organization_of(key, named)
    found = _organizations.get((key.pk, named), now=now)
    if found is None:
        _require(may_query=may_query)
        generation = _organizations.generation
        found = organization_of(key, named)
        _organizations.put((key.pk, named), found, now=now, generation=generation)
    return found


def _ids_of(names: Iterable[str], organization: Organization, *, may_query: bool, now: datetime) -> dict[str, int]:
    """Return the ids, by name, of those of an organization's repositories that have one of these names."""
    found = {name: _repositories.get((organization.pk, name), now=now) for name in names}
    known = {name: repository_id for name, repository_id in found.items() if repository_id is not None}
    if len(known) < len(found):
        _require(may_query=may_query)
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

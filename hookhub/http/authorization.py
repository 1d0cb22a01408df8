"""Authorizes requests: determines the organization a request acts in and checks the caller's scope there."""

from typing import Any

from django.http import Http404
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from deliveries.db.lookups import find_one
from deliveries.models import Organization
from hookhub import people
from hookhub.http.errors import MUST_NOT_BE_EMPTY
from hookhub.http.refusals import invalid
from hookhub.models import INCLUDED, MASTER_ONLY, ApiKey, Membership, Scope


def is_operator(request: Request) -> bool:
    """Return whether the caller acts for every organization: with an operator's key, or as a superuser."""
    if isinstance(request.auth, ApiKey):
        return request.auth.organization_id is None
    return people.is_superuser(request.user)


def authorize(request: Request, *, scope: Scope, organization: object = None) -> Organization:
    """Return the organization that a request acts in; raise a 403 unless the caller has this scope there.

    ``organization`` is the slug named in the request's body; the query parameter of that name may name it instead. A
    caller with only one organization need not name it; with several, naming none is a 422. An organization that the
    caller does not belong to is a 404, as if it did not exist.
    """
    asked = request.query_params.get("organization")
    if asked == "":
        raise invalid({"organization": MUST_NOT_BE_EMPTY})
    slug = asked if organization is None else organization
    if slug is not None and not isinstance(slug, str):
        raise invalid({"organization": "must be the slug of an organization"})
    if slug is not None and "\0" in slug:
        raise Http404
    if isinstance(request.auth, ApiKey):
        found, held = organization_of(request.auth, slug), Scope(request.auth.scope)
    else:
        found, held = _of_person(request.user, slug)
    require(scope, held=held)
    return found


def authorize_webhooks(request: Request, *, scope: Scope, organization: object = None) -> Organization:
    """Return what ``authorize`` does, for a request for webhooks; those of some systems need a master key."""
    found = authorize(request, scope=scope, organization=organization)
    if found.default_dialect in MASTER_ONLY:
        authorize(request, scope=Scope.MASTER, organization=organization)
    return found


def require(scope: Scope, *, held: Scope) -> None:
    """Raise a 403 unless the caller's scope ``held`` includes ``scope``."""
    if scope not in INCLUDED[held]:
        raise PermissionDenied(f"Requires the scope {scope.value}; this caller has the scope {held.value}.")


def require_scope(request: Request, scope: Scope) -> None:
    """Raise a 403 for an API key without this scope, before the body is parsed."""
    if isinstance(request.auth, ApiKey):
        require(scope, held=Scope(request.auth.scope))


def may_manage_webhooks(request: Request, organization: Organization) -> bool:
    """Return whether the caller may change the webhooks of an organization returned by ``authorize``."""
    if isinstance(request.auth, ApiKey):
        held = Scope(request.auth.scope)
    else:
        _, held = _of_person(request.user, organization.slug)
    required = Scope.MASTER if organization.default_dialect in MASTER_ONLY else Scope.MANAGE
    return required in INCLUDED[held]


def organization_of(key: ApiKey, slug: str | None) -> Organization:
    """Return the organization that a key acts in; raise a 404 if the request names another one, by its slug."""
    if key.organization is None:
        return _find(slug)
    if slug not in {None, key.organization.slug}:
        raise Http404
    return key.organization


def _of_person(user: Any, slug: str | None) -> tuple[Organization, Scope]:
    if people.is_superuser(user):
        return _find(slug), Scope.MASTER
    memberships = Membership.objects.filter(user=user).select_related("organization").order_by("pk")
    if slug is not None:
        memberships = memberships.filter(organization__slug=slug)
    found = list(memberships[:2])
    if not found:
        raise Http404
    if len(found) > 1:
        raise invalid({"organization": "is required because you belong to several: add ?organization=<slug>"})
    return found[0].organization, found[0].scope


def _find(slug: str | None) -> Organization:
    if slug is not None:
        organization = find_one(Organization.objects.filter(slug=slug))
        if organization is None:
            raise Http404
        return organization
    # In an installation with a single organization, requests need not name it.
    few = list(Organization.objects.order_by("pk")[:2])
    if len(few) != 1:
        raise invalid({"organization": "is required with an operator's key: add ?organization=<slug>"})
    return few[0]

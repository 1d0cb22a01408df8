"""Who may do what: a caller, an organization and the scope that a request needs."""

from typing import cast

from django.contrib.auth.models import User
from django.http import Http404
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from deliveries.models import Organization
from hookhub.api.errors import MUST_NOT_BE_EMPTY, invalid
from hookhub.models import INCLUDED, ApiKey, Membership, Scope

# Systems whose webhooks nothing less than a master key may read or change.
MASTER_ONLY = frozenset({"coregit"})


def is_operator(request: Request) -> bool:
    """Tell whether the caller acts for every organization: the operator's own key, or a superuser."""
    if isinstance(request.auth, ApiKey):
        return request.auth.organization_id is None
    return bool(request.user.is_superuser)


def enter(request: Request, *, needs: Scope, named: object = None) -> Organization:
    """Give the organization that a request acts in, provided the caller has the scope it needs.

    ``named`` is the organization that the request's body names; the query parameter ``organization`` may name it too.
    Another's organization is 404, as if it did not exist. Who has a single one need not name it.
    """
    asked = request.query_params.get("organization")
    if asked == "":
        raise invalid({"organization": MUST_NOT_BE_EMPTY})
    named = asked if named is None else named
    if named is not None and not isinstance(named, str):
        raise invalid({"organization": "must be the slug of an organization"})
    if named is not None and "\0" in named:
        raise Http404
    if isinstance(request.auth, ApiKey):
        organization, scope = organization_of(request.auth, named), Scope(request.auth.scope)
    else:
        organization, scope = _of_person(cast("User", request.user), named)
    require(needs, of=scope)
    return organization


def enter_webhooks(request: Request, *, needs: Scope, named: object = None) -> Organization:
    """Return what ``enter`` does, for a request that reads or changes webhooks, whichever system's API it comes by."""
    organization = enter(request, needs=needs, named=named)
    if organization.default_dialect in MASTER_ONLY:
        enter(request, needs=Scope.MASTER, named=named)
    return organization


def require(needs: Scope, *, of: Scope) -> None:
    """Raise a 403 unless the scope that somebody has includes the one that is needed."""
    if needs not in INCLUDED[of]:
        raise PermissionDenied(f"This needs the scope {needs.value}; yours is {of.value}.")


def require_scope(request: Request, needs: Scope) -> None:
    """Raise a 403 for an API key without this scope, before anything of the request's body is looked at."""
    if isinstance(request.auth, ApiKey):
        require(needs, of=Scope(request.auth.scope))


def may_manage_webhooks(request: Request, organization: Organization) -> bool:
    """Tell whether the caller may change webhooks of an organization that ``enter`` has returned for its request."""
    if isinstance(request.auth, ApiKey):
        scope = Scope(request.auth.scope)
    else:
        _, scope = _of_person(cast("User", request.user), organization.slug)
    needs = Scope.MASTER if organization.default_dialect in MASTER_ONLY else Scope.MANAGE
    return needs in INCLUDED[scope]


def organization_of(key: ApiKey, named: str | None) -> Organization:
    """Give the organization that a key acts in when a request names that one, or none."""
    if key.organization is None:
        return _named(named)
    if named not in {None, key.organization.slug}:
        raise Http404
    return key.organization


def _of_person(user: User, named: str | None) -> tuple[Organization, Scope]:
    if user.is_superuser:
        return _named(named), Scope.MASTER
    memberships = Membership.objects.filter(user=user).select_related("organization").order_by("pk")
    if named is not None:
        memberships = memberships.filter(organization__slug=named)
    found = list(memberships[:2])
    if not found:
        raise Http404
    if len(found) > 1:
        raise invalid({"organization": "you are in several; add ?organization=<slug>"})
    return found[0].organization, found[0].scope


def _named(slug: str | None) -> Organization:
    if slug is not None:
        organization = Organization.objects.filter(slug=slug).first()
        if organization is None:
            raise Http404
        return organization
    # On an installation for a single organization nobody has to name it.
    few = list(Organization.objects.order_by("pk")[:2])
    if len(few) != 1:
        raise invalid({"organization": "is required with an operator's key: add ?organization=<slug>"})
    return few[0]

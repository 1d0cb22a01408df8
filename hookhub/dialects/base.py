"""The base of all dialects: authentication, parsing of bodies and paths, and rendering of errors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

from django.db.models import Expression, Model, QuerySet
from django.db.models.functions import Lower
from django.http import Http404
from django.urls import URLPattern
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from deliveries.db.lookups import Lookup
from deliveries.models import Attempt, Organization, Repository, Webhook
from hookhub.dialects.authentication import CredentialsAuthentication
from hookhub.http.authorization import authorize, authorize_webhooks
from hookhub.http.json_values import MAX_DEPTH, is_deeper_than
from hookhub.http.negotiation import OneFormat
from hookhub.http.openapi import DescribedSchema
from hookhub.http.parsers import StrictJSONParser
from hookhub.http.problems import Problem, error_response, not_an_object
from hookhub.http.query import whole_number
from hookhub.http.refusals import bad_request
from hookhub.http.views import APIView, Json
from hookhub.models import ApiKey, Scope

# Larger than any row's number will be, and still a bigint.
MAX_NUMBER = 10**18 - 1
Row = TypeVar("Row", bound=Model)
WITH_A_BODY = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Dialect:
    """Another system's webhook API, as the registry in ``hookhub.dialects`` lists it.

    ``routes`` are mounted under each of ``prefixes``, which are empty or end in a slash. Their path parameters are
    ``owner``, ``repo``, ``webhook`` and ``delivery``, and ``rest`` in paths that lead nowhere; ``webhook_id`` and
    ``delivery_id`` return the value of such a parameter. ``fixed`` are routes outside of the prefixes.
    ``default_format`` is the wire format of a webhook created here, unless its organization prefers another one that
    this dialect offers. ``catalogue`` is the slug of its event types.
    """

    slug: str
    title: str
    default_format: str
    catalogue: str
    prefixes: tuple[str, ...]
    routes: Sequence[URLPattern]
    fixed: Sequence[URLPattern] = ()
    webhook_id: Callable[[Webhook], str] = lambda webhook: str(webhook.uid)
    delivery_id: Callable[[Attempt], str] = lambda attempt: str(attempt.delivery_id)


class AnyJSONParser(StrictJSONParser):
    """JSON under any media type: clients send vendors' media types, and curl's default is that of a form."""

    media_type = "*/*"


class DialectSchema(DescribedSchema):
    """Groups a dialect's operations in the OpenAPI document and makes their ids unique across dialects."""

    # A body of any media type is read, and what cannot be done is an invalid field.
    never = frozenset({409, 415})

    @property
    def error_prefix(self) -> str:  # type: ignore[override]
        """Return what the names of the components of the dialect's errors begin with."""
        return cast("DialectView", self.view).title

    @property
    def error_serializer(self) -> type[serializers.Serializer[Any]]:  # type: ignore[override]
        """Return the serializer of the dialect's errors."""
        return cast("DialectView", self.view).error_serializer

    def may_find_nothing(self) -> bool:
        """Return whether the path names what may not exist."""
        return "{" in self.path

    def reads_body(self) -> bool:
        """Return whether the operation reads a body, as all do that may have one: it must be JSON."""
        return self.method in WITH_A_BODY

    def get_auth(self) -> list[dict[str, list[str]]]:
        """Return the ways to send a key as alternatives, of which one is enough; {} is one where none is needed."""
        ways: list[dict[str, list[str]]] = [{name: []} for scheme in super().get_auth() for name in scheme]
        return ways if cast("DialectView", self.view).permission_classes else [*ways, {}]

    def get_tags(self) -> list[str]:
        """Return the dialect's title, under which its operations are grouped."""
        return [cast("DialectView", self.view).title]

    def get_operation_id(self) -> str:
        """Return a unique id, made of the dialect's slug, the method and the path."""
        parts = [part.strip("{}") for part in self.path.split("/") if part]
        return "_".join([cast("DialectView", self.view).slug.replace("-", "_"), self.method.lower(), *parts])


class DialectView(APIView):
    """Accepts what real clients send; a dialect derives its own base view from this and implements ``render_error``."""

    slug: ClassVar[str]
    title: ClassVar[str]
    error_serializer: ClassVar[type[serializers.Serializer[Any]]]
    schema = DialectSchema()
    authentication_classes = (CredentialsAuthentication,)
    permission_classes: Sequence[type[BasePermission]] = (IsAuthenticated,)
    parser_classes: Sequence[type[BaseParser]] = (AnyJSONParser,)
    renderer_classes = (Json,)
    # An empty Accept header, a vendor's media type, a version in it: all get the only format there is.
    content_negotiation_class = OneFormat

    # The fields of the request's body, empty if there is none.
    body: dict[str, object]

    @staticmethod
    def render_error(problem: Problem) -> Response:
        """Return an error response in the dialect's shape."""
        raise NotImplementedError

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Reject callers without a key, and parse the body before the operation starts."""
        super().initial(request, *args, **kwargs)
        self.body = object_in(request) if request.method in WITH_A_BODY else {}

    def get_exception_handler(self) -> Callable[[Exception, Mapping[str, Any]], Response | None]:
        """Return a handler that renders errors in the dialect's shape."""
        return lambda error, context: error_response(error, context, render_error=self.render_error)


def object_in(request: Request) -> dict[str, object]:
    """Return the fields of a request's body; raise a 400 unless it is empty or a JSON object of limited depth."""
    read: object = request.data
    if not isinstance(read, Mapping):
        raise not_an_object()
    if is_deeper_than(MAX_DEPTH, dict(read)):
        raise bad_request("The body is nested too deeply.")
    return dict(read)


def organization_at(request: Request, owner: str, *, scope: Scope) -> Organization:
    """Return the organization named in a path, in any case; raise a 403 without this scope, a 404 if unknown."""
    return authorize(request, scope=scope, organization=slug_of(request, owner))


def slug_of(request: Request, owner: str) -> str:
    """Return the slug of the organization named in a path, in any case; the name as it is if there is none."""
    own = request.auth.organization if isinstance(request.auth, ApiKey) else None
    # For a key of one organization no query is needed to find the spelling of its slug.
    if own is not None:
        return own.slug if own.slug.lower() == owner.lower() else owner
    found = organization_in_any_case(slug=owner)
    return owner if found is None else found.slug


def repository_at(
    request: Request, owner: str, repo: str, *, scope: Scope, any_case: bool = False, for_webhooks: bool = True
) -> Repository:
    """Return the repository at a path; raise a 403 without this scope, a 404 if the caller cannot see it.

    With ``any_case`` the path names both in any case, as GitHub's paths do. With ``for_webhooks`` the request is for
    the repository's webhooks, which need a master key in some systems.
    """
    authorize_there = authorize_webhooks if for_webhooks else authorize
    organization = authorize_there(request, scope=scope, organization=slug_of(request, owner) if any_case else owner)
    find = repository_in_any_case if any_case else repository_named
    found = find(organization=organization.pk, name=repo)
    if found is None:
        raise Http404
    return found


def _in_any_case(rows: "QuerySet[Row]", field: str, name: Expression) -> "QuerySet[Row]":
    return cast("QuerySet[Row]", rows.alias(folded=Lower(field)).filter(folded=Lower(name)))


def _repositories(organization: Expression) -> QuerySet[Repository]:
    return Repository.objects.select_related("organization").filter(organization_id=organization)


organization_in_any_case = Lookup(lambda slug: _in_any_case(Organization.objects.all(), "slug", slug), "slug")
repository_named = Lookup(
    lambda organization, name: _repositories(organization).filter(name=name), "organization", "name"
)
repository_in_any_case = Lookup(
    lambda organization, name: _in_any_case(_repositories(organization), "name", name), "organization", "name"
)


def read_number(text: str) -> int:
    """Parse a number from a path; raise a 404 if it is invalid or too large, because nothing can have it."""
    number = whole_number(text, most=MAX_NUMBER, least=0)
    if number is None:
        raise Http404
    return number

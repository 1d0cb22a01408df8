"""Describes operations in the OpenAPI document: summaries, media types and the errors that each may return."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from drf_spectacular import utils
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.settings import api_settings

from hookhub.http.negotiation import OneFormat

View = TypeVar("View", bound=Callable[..., Any])
JSON = "application/json"
Direction = Literal["request", "response"]
# Marks a response that several operations share; ``hookhub.descriptions.layout`` makes a component of it.
SHARED = "_shared"


class Error(NamedTuple):
    """A kind of error: the name of its component, its description, and headers that it has besides."""

    name: str
    description: str
    headers: tuple[str, ...] = ()


ERRORS: Mapping[int, Error] = {
    400: Error("Malformed", "The body is not valid JSON, or incomplete."),
    401: Error(
        "Unauthenticated", "The API key is missing, unknown, expired or revoked.", headers=("WWW-Authenticate",)
    ),
    403: Error("Forbidden", "The scope or the allowed networks of the API key do not permit this."),
    404: Error("NotFound", "There is no such object in any organization that the API key can access."),
    406: Error("NotAcceptable", "The Accept header excludes JSON."),
    408: Error("RequestTimeout", "The body did not arrive in time."),
    409: Error("Conflict", "What is stored does not allow this."),
    413: Error("TooLarge", "The body, or a part of it, is longer than allowed."),
    415: Error("UnsupportedMediaType", "The body is of a type that is not read here; send JSON."),
    422: Error("Invalid", "Fields or parameters are invalid; the error names each of them."),
    429: Error("Throttled", "A rate limit is exceeded. Retry after the time in Retry-After.", headers=("Retry-After",)),
    503: Error(
        "Unavailable",
        "The database does not respond, or too many requests wait. Retry after the time in Retry-After.",
        headers=("Retry-After",),
    ),
}
HEADERS: Mapping[str, dict[str, Any]] = {
    "Retry-After": {"schema": {"type": "integer", "minimum": 0}, "description": "Seconds to wait."},
    "WWW-Authenticate": {"schema": {"type": "string"}, "description": "How to authenticate."},
}
CHANGING = frozenset({"POST", "PUT", "PATCH"})
# The statuses of bodies that are refused before any view runs.
EARLY = frozenset({408, 413})
OF_A_BODY = frozenset({400, 415})


class ErrorFieldSerializer(serializers.Serializer[Any]):
    """A field of the request and what is wrong with it."""

    field = serializers.CharField(help_text="Path of the field, such as url or events[3].type.")
    message = serializers.CharField()


class ErrorDetailSerializer(serializers.Serializer[Any]):
    """What went wrong: a code for programs, a message for people, and the fields concerned."""

    code = serializers.CharField(help_text="Stable identifier, such as invalid, not_found or throttled.")
    message = serializers.CharField()
    # The name is part of the API; the framework's attribute of the same name is never used on this class.
    fields = ErrorFieldSerializer(many=True)  # type: ignore[assignment]


class ErrorSerializer(serializers.Serializer[Any]):
    """The format of every error."""

    error = ErrorDetailSerializer()


class DescribedSchema(AutoSchema):
    """Adds to drf-spectacular's description of a view a summary and the errors that its operation may return."""

    error_serializer: type[serializers.Serializer[Any]] = ErrorSerializer
    # Begins the names of the components of its errors.
    error_prefix: ClassVar[str] = ""
    # Statuses that these operations never return.
    never: ClassVar[frozenset[int]] = frozenset()
    # By method and path, such as "GET /v1/meta"; what else may be in the way of an operation, as a sentence.
    summaries: ClassVar[Mapping[str, str]] = {}
    conflicts: ClassVar[Mapping[str, str]] = {}

    @property
    def label(self) -> str:
        """Return the method and the path, by which the tables name an operation."""
        return f"{self.method} {self.path}"

    def get_summary(self) -> str | None:
        """Return the one-line summary shown in the list of operations, or None."""
        return self.summaries.get(self.label)

    def map_parsers(self) -> list[str]:
        """Return the media types to document: only JSON, even where a parser accepts any."""
        return [JSON]

    def component_of(self, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Register a schema as a component, and return the reference to it."""
        kind = ResolvedComponent.SCHEMA
        # A copy, because drf-spectacular moves enumerations out of the schemas.
        component = ResolvedComponent(name, kind, deepcopy(schema), name)  # type: ignore[no-untyped-call]  # drf-spectacular's
        self.registry.register_on_missing(component)
        return dict(component.ref)

    def _get_request_body(self, direction: str = "request") -> dict[str, Any] | None:
        body: dict[str, Any] | None = super()._get_request_body(direction)  # type: ignore[no-untyped-call]  # drf-spectacular's
        if body is None:
            return None
        # drf-spectacular derives whether a body is required from a serializer; forms and a choice of schemas have none.
        is_form = any("required" in media.get("schema", {}) for media in body["content"].values())
        return {**body, "required": True} if is_form or "application/x-ndjson" in body["content"] else body

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for code, response in bodies.items():
            response["description"] = response["description"] or ("Created." if code == "201" else "Success.")
        for status in ERRORS:
            if str(status) not in bodies and self.may_return(status):
                bodies[str(status)] = self.error_response(status)
        return dict(sorted(bodies.items()))

    def error_response(self, status: int) -> dict[str, Any]:
        """Return the description of an error; one that says the same for many operations is marked as shared."""
        kind = ERRORS[status]
        response = {"description": kind.description, "content": {JSON: {"schema": self.error_schema(status)}}}
        if kind.headers:
            response["headers"] = {name: HEADERS[name] for name in kind.headers}
        if status == 409:
            return {**response, "description": self.conflicts[self.label]}
        prefix = "" if status in EARLY else self.error_prefix
        return {**response, SHARED: f"{prefix}{kind.name}"}

    def error_schema(self, status: int) -> dict[str, Any]:
        """Return the schema of an error's body: HookHub's own where the web server refuses a body."""
        serializer = ErrorSerializer if status in EARLY else self.error_serializer
        return dict(self.resolve_serializer(serializer, "response").ref)

    def may_return(self, status: int) -> bool:
        """Return whether the operation may return an error with this status."""
        if status in self.never:
            return False
        if status == 404:
            return self.may_find_nothing()
        if status == 406:
            return not issubclass(self.view.content_negotiation_class, OneFormat)
        if status == 409:
            return self.label in self.conflicts
        if status in OF_A_BODY:
            return self.reads_body()
        return status not in EARLY or self.method in CHANGING

    def may_find_nothing(self) -> bool:
        """Return whether the path, or a parameter, may name what does not exist."""
        parameters = self.get_override_parameters()
        return "{" in self.path or any(
            isinstance(each, OpenApiParameter) and each.name == "organization" for each in parameters
        )

    def reads_body(self) -> bool:
        """Return whether the operation reads a body, which may be malformed."""
        return self._get_request_body() is not None


def extend_schema(**options: Any) -> Callable[[View], View]:
    """Describe an operation as drf-spectacular's decorator does, whatever schema class the project's settings name."""
    extend = utils.extend_schema(**options)

    def decorate(view: View) -> View:
        if not isinstance(view, type):
            found: Any = view
            found.kwargs = {"schema": DescribedSchema, **getattr(view, "kwargs", {})}
        return extend(view)

    return decorate


class Generator(SchemaGenerator):
    """Makes a document of HookHub's views, whatever schema class the project's settings name."""

    def create_view(self, callback: Any, method: str, request: Any = None) -> Any:
        """Return a view whose description combines that of its class and that of its method."""
        with _as_default(DescribedSchema):
            return super().create_view(callback, method, request)  # type: ignore[no-untyped-call]  # the library's


@contextmanager
def _as_default(schema_class: type[AutoSchema]) -> Iterator[None]:
    """Let the library tell from this class what a method's description adds to it."""
    before = api_settings.DEFAULT_SCHEMA_CLASS
    api_settings.DEFAULT_SCHEMA_CLASS = schema_class  # type: ignore[assignment]
    try:
        yield
    finally:
        api_settings.DEFAULT_SCHEMA_CLASS = before

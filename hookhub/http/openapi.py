"""Describes operations in the OpenAPI document: summaries, media types and possible errors."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, TypeVar

from drf_spectacular import utils
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers
from rest_framework.settings import api_settings

View = TypeVar("View", bound=Callable[..., Any])

JSON = "application/json"
Direction = Literal["request", "response"]

ERRORS: Mapping[int, str] = {
    400: "Malformed request: the body is not valid JSON, or a header is malformed.",
    401: "Unauthenticated: the API key is missing, unknown, expired or revoked.",
    403: "Forbidden: the scope or the allowed networks of the API key do not permit this.",
    404: "Not found in any organization that the API key can access.",
    406: "Not acceptable: the Accept header excludes JSON.",
    408: "Request timeout: the body did not arrive in time.",
    409: "Conflict with the stored state.",
    411: "Length required: send a Content-Length.",
    413: "Too large: the body, or a part of it, exceeds a limit.",
    415: "Unsupported media type.",
    422: "Invalid fields or parameters; the error names each of them.",
    429: "Too many requests; retry after the time in Retry-After.",
    500: "Internal error; the server's log has the details.",
    503: "The database is unavailable; retry after the time in Retry-After.",
}
WITH_A_BODY = frozenset({408, 411, 413, 415})


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
    """Adds to drf-spectacular's description of a view a summary and the errors that every operation may return."""

    error_serializer: type[serializers.Serializer[Any]] = ErrorSerializer
    # Statuses that these operations never return in this format.
    never: ClassVar[frozenset[int]] = frozenset()
    # By method and path, such as "GET /v1/meta".
    summaries: ClassVar[Mapping[str, str]] = {}

    def get_summary(self) -> str | None:
        """Return the one-line summary shown in the list of operations, or None."""
        return self.summaries.get(f"{self.method} {self.path}")

    def map_parsers(self) -> list[str]:
        """Return the media types to document: only JSON, even where a parser accepts any."""
        return [JSON]

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
        for status, description in ERRORS.items():
            if str(status) not in bodies and self._may_answer(status):
                answer = OpenApiResponse(self.error_serializer, description=description)
                bodies[str(status)] = self._get_response_for_code(answer, str(status))  # type: ignore[no-untyped-call]
        return dict(sorted(bodies.items()))

    def _may_answer(self, status: int) -> bool:
        if status in self.never or (status == 409 and self.method == "GET"):
            return False
        return status not in WITH_A_BODY or self.method in {"POST", "PUT", "PATCH"}


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

"""The base of all API views, which leaves nothing to the settings of the REST framework: those are the project's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.apps import apps
from django.db.models import Model, QuerySet
from django.http import HttpResponse
from rest_framework import generics, views
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.filters import BaseFilterBackend
from rest_framework.metadata import SimpleMetadata
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.throttling import BaseThrottle

from hookhub.http import errors, links
from hookhub.http.authentication import KeyAuthentication
from hookhub.http.openapi import DescribedSchema
from hookhub.http.pagination import Cursor
from hookhub.http.parsers import StrictJSONParser
from hookhub.http.throttling import RequestRate

Row = TypeVar("Row", bound=Model)


class Json(JSONRenderer):
    """JSON without white space, in ASCII: a payload may have a lone surrogate, which UTF-8 cannot encode."""

    compact = ensure_ascii = True


class Browsable(BrowsableAPIRenderer):
    """The browsable API, in HookHub's look."""

    template = "hookhub/api.html"

    def get_context(
        self, data: Any, accepted_media_type: str | None, renderer_context: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what the page shows, with the way to the admin."""
        found: dict[str, Any] = super().get_context(data, accepted_media_type, renderer_context)
        return {**found, "admin_address": links.admin_page()}

    def get_default_renderer(self, view: views.APIView) -> BaseRenderer:
        """Return the renderer of the content in the page."""
        return Json()

    def get_filter_form(self, data: Any, view: views.APIView, request: Request) -> None:
        """Return no form: the views read their parameters themselves, and have no queryset to ask for filters."""


class Metadata(SimpleMetadata):
    """What a view answers to OPTIONS."""

    def determine_actions(self, request: Request, view: views.APIView) -> dict[str, Any]:
        """Return the fields of each action; of none where there is a PUT, for which the row would be looked up."""
        return {} if "PUT" in view.allowed_methods else super().determine_actions(request, view)


class Independent(views.APIView):
    """A view of any kind; list it before a view of another library."""

    authentication_classes: Sequence[type[BaseAuthentication]] = (KeyAuthentication, SessionAuthentication)
    permission_classes: Sequence[type[BasePermission]] = (IsAuthenticated,)
    parser_classes: Sequence[type[BaseParser]] = (StrictJSONParser,)
    throttle_classes: Sequence[type[BaseThrottle]] = (RequestRate,)
    content_negotiation_class: type[BaseContentNegotiation] = DefaultContentNegotiation
    metadata_class = Metadata
    versioning_class = None

    def get_exception_handler(self) -> Callable[[Exception, Mapping[str, Any]], HttpResponse | None]:
        """Return what renders errors in HookHub's one format."""
        return errors.answer


class APIView(Independent):
    """A view that reads and answers JSON."""

    renderer_classes: Sequence[type[BaseRenderer]] = (Json, Browsable)
    schema = DescribedSchema()

    def get_renderers(self) -> list[BaseRenderer]:
        """Return the renderers; the browsable API needs the REST framework among the project's apps."""
        has_templates = apps.is_installed("rest_framework")
        return [made() for made in self.renderer_classes if has_templates or made is not Browsable]


class GenericAPIView(APIView, generics.GenericAPIView[Row]):
    """A view of the rows of a model, of which it lists a page at a time."""

    pagination_class = Cursor
    filter_backends: Sequence[type[BaseFilterBackend]] = ()

    def listed(self, found: QuerySet[Row], serializer: type[BaseSerializer[Any]]) -> Response:
        """Return the page that the request asks for, each of its rows as the serializer shows it."""
        return self.get_paginated_response(serializer(self.paginate_queryset(found), many=True).data)

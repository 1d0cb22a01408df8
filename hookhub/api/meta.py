"""`/v1/`, `/v1/meta` and the OpenAPI document."""

from functools import lru_cache
from threading import Lock
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.settings import patched_settings
from drf_spectacular.views import SpectacularJSONAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from deliveries.formats import DEFAULT, FORMATS
from deliveries.systems import SYSTEMS
from deliveries.version import VERSION
from hookhub import frameworks
from hookhub.api.serializers.meta import MetaSerializer
from hookhub.api.views import APIView
from hookhub.http.links import path_of
from hookhub.http.negotiation import OneFormat
from hookhub.http.openapi import Generator, extend_schema
from hookhub.http.views import Independent


@extend_schema(exclude=True)
class RootView(APIView):
    """The resources of this API. Log in, or send `Authorization: Bearer hh_…`."""

    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        names = (
            "organizations",
            "api-keys",
            "repositories",
            "webhooks",
            "event-types",
            "events",
            "deliveries",
            "replays",
            "audit",
            "meta",
        )
        return Response(
            {name: reverse(name, request=request) for name in (*names, "openapi", "asyncapi", "schemas", "docs")}
        )


class DocumentView(Independent, SpectacularJSONAPIView):
    """The OpenAPI document as JSON, for programs and browsers alike."""

    authentication_classes = ()
    permission_classes = ()
    schema = None
    renderer_classes = [OpenApiJsonRenderer2]  # noqa: RUF012 - the type is the framework's
    content_negotiation_class = OneFormat

    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the document, the same for every query: the framework would generate one per language and version."""
        headers = {"Content-Disposition": 'inline; filename="HookHub.json"'}
        return HttpResponse(document(), content_type="application/json", headers=headers)


# The library reads these only when its own views are loaded.
NOT_PATCHED = ("SERVE_", "DEFAULT_GENERATOR_CLASS")
_making = Lock()


def document() -> bytes:
    """Return the OpenAPI document, generated once per process because that takes a second of CPU time."""
    # One thread generates it while the others wait; otherwise each would generate one.
    with _making:
        return _made()


@lru_cache(maxsize=1)
def _made() -> bytes:
    # A project's own settings are about its own API.
    found = frameworks.openapi_settings(settings.HOOKHUB_PUBLIC_URL or path_of("/"))
    with patched_settings({name: value for name, value in found.items() if not name.startswith(NOT_PATCHED)}):
        schema = Generator(urlconf="hookhub.patterns").get_schema(public=True)  # type: ignore[no-untyped-call]  # drf-spectacular's own
    rendered: bytes = OpenApiJsonRenderer2().render(schema, renderer_context={})
    return rendered


class MetaView(APIView):
    """Retrieve the version, the defaults and the limits of this deployment.

    No API key is needed, so that receivers can read the addresses that requests are sent from.
    """

    permission_classes = (AllowAny,)

    @extend_schema(responses={200: MetaSerializer})
    def get(self, request: Request) -> Response:
        return Response(
            {
                "version": VERSION,
                "dialects": sorted(SYSTEMS),
                "formats": sorted(FORMATS),
                "default_format": DEFAULT,
                "retry_schedule": [wait.total_seconds() for wait in settings.HOOKHUB_RETRY_SCHEDULE],
                "timeout": settings.HOOKHUB_TIMEOUT.total_seconds(),
                "max_in_flight": settings.HOOKHUB_MAX_IN_FLIGHT,
                "payload_limit": settings.HOOKHUB_PAYLOAD_LIMIT,
                "retention_days": settings.HOOKHUB_RETENTION.days,
                "source_addresses": list(settings.HOOKHUB_SOURCE_ADDRESSES),
            }
        )

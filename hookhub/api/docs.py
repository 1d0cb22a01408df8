"""The API reference: Swagger UI, whose files need not be among the project's static files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import drf_spectacular
import drf_spectacular_sidecar
from django.apps import apps
from django.http import Http404, HttpRequest, HttpResponseBase
from django.template.backends.django import DjangoTemplates
from django.template.backends.django import Template as BackendTemplate
from django.urls import reverse
from django.views.generic import View
from django.views.static import serve
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.renderers import TemplateHTMLRenderer

from hookhub.http.negotiation import OneFormat
from hookhub.http.views import Independent

SIDECAR = "drf_spectacular_sidecar"
FILES = Path(str(drf_spectacular_sidecar.__file__)).parent / "static" / SIDECAR / "swagger-ui-dist"
NAMES_OF_FILES = frozenset(path.name for path in FILES.iterdir())
# Of the library, which need not be among the project's apps.
_templates = DjangoTemplates(
    {
        "NAME": "spectacular",
        "DIRS": [Path(str(drf_spectacular.__file__)).parent / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {},
    }
)


class Renderer(TemplateHTMLRenderer):
    """Renders the library's own templates."""

    def resolve_template(self, template_names: Iterable[str]) -> BackendTemplate:
        """Return the first of the templates."""
        return _templates.get_template(next(iter(template_names)))


class DocsView(Independent, SpectacularSwaggerSplitView):
    """The page, and with ``?script`` its script."""

    authentication_classes = ()
    permission_classes = ()
    schema = None
    renderer_classes = [Renderer]  # noqa: RUF012 - the type is the library's
    content_negotiation_class = OneFormat
    http_method_names = ("get", "head")
    url_name = "openapi"
    title = "HookHub"

    @staticmethod
    def _swagger_ui_resource(filename: str) -> str:
        if apps.is_installed(SIDECAR):
            library: Any = SpectacularSwaggerSplitView
            return str(library._swagger_ui_resource(filename))  # noqa: SLF001 - as the library calls it
        return reverse("docs-file", args=[filename])

    @staticmethod
    def _swagger_ui_favicon() -> str:
        return DocsView._swagger_ui_resource("favicon-32x32.png")


class DocsFileView(View):
    """The files of Swagger UI, for a project that does not have them among its static files."""

    http_method_names = ["get", "head"]  # noqa: RUF012 - the type is the framework's

    def get(self, request: HttpRequest, name: str) -> HttpResponseBase:
        """Return a file; raise Http404 if there is none of that name."""
        # A longer name than a file can have is an error of the system, which the framework does not expect.
        if name not in NAMES_OF_FILES:
            raise Http404
        answered = serve(request, name, document_root=str(FILES))
        answered.headers["Cache-Control"] = "public, max-age=3600"
        return answered

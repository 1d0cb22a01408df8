"""The URL patterns that the service and a project's HookHub have in common: front page, API, portal, MCP, dialects."""

from django.urls import URLPattern, URLResolver, include, path

from hookhub.descriptions import documents
from hookhub.dialects import DIALECTS
from hookhub.http.forwarder_file import forwarder_file
from hookhub.http.home import home
from hookhub.http.security_txt import security_txt
from hookhub.mcp.views import McpView

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home, name="home"),
    path(".well-known/security.txt", security_txt),
    path("listen.py", forwarder_file),
    path("llms.txt", documents.llms_txt, name="llms"),
    path("docs/<path:name>.md", documents.page),
    path("v1/", include("hookhub.api.urls")),
    path("portal/", include("hookhub.portal.urls")),
    path("mcp", McpView.as_view()),
    *[route for dialect in DIALECTS.values() for route in dialect.fixed],
    *[path(prefix, include(list(dialect.routes))) for dialect in DIALECTS.values() for prefix in dialect.prefixes],
]

handler400 = "hookhub.http.errors.malformed_request"
handler403 = "hookhub.http.errors.forbidden"
handler404 = "hookhub.dialects.not_found.not_found"
handler500 = "hookhub.http.errors.server_error"

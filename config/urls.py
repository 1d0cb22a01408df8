"""The URL configuration: the front page, the API under /v1/, the admin, and the paths of the dialects."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path

from hookhub.dialects import DIALECTS
from hookhub.http.documentation import documentation
from hookhub.http.errors import not_found
from hookhub.http.forwarder_file import forwarder_file
from hookhub.http.home import home
from hookhub.http.security_txt import security_txt
from hookhub.mcp.views import McpView

admin.autodiscover()

IN_DEVELOPMENT = settings.DEBUG or settings.HOOKHUB_DEVELOPMENT

urlpatterns = [
    path("", home, name="home"),
    path(".well-known/security.txt", security_txt),
    path("listen.py", forwarder_file),
    path("v1/", include("hookhub.api.urls")),
    path("portal/", include("hookhub.portal.urls")),
    path("mcp", McpView.as_view()),
    # The admin's "view on site" redirect: no object has a page on the site, and the redirect would reveal which objects
    # exist in other organizations.
    re_path(r"^admin/r/", not_found),
    path("admin/", admin.site.urls),
    *[route for dialect in DIALECTS.values() for route in dialect.fixed],
    *[path(prefix, include(list(dialect.routes))) for dialect in DIALECTS.values() for prefix in dialect.prefixes],
    *([re_path(r"^docs(?P<path>|/.*)$", documentation, name="documentation")] if IN_DEVELOPMENT else []),
]

handler400 = "hookhub.http.errors.malformed_request"
handler403 = "hookhub.http.errors.forbidden"
handler404 = "hookhub.dialects.not_found.not_found"
handler500 = "hookhub.http.errors.server_error"

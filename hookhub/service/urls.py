"""The service's URL configuration: the paths of ``hookhub.patterns``, the admin, logins, and the documentation."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path

from hookhub import patterns
from hookhub.http.documentation import documentation
from hookhub.http.errors import not_found

admin.autodiscover()

IN_DEVELOPMENT = settings.DEBUG or settings.HOOKHUB_DEVELOPMENT

urlpatterns = [
    *([path("", include("hookhub.sso.urls"))] if settings.HOOKHUB_ALLAUTH else []),
    # The login for the browsable API; the admin's own login is for staff.
    path("v1/auth/", include("rest_framework.urls")),
    # The admin's "view on site" redirect: no object has a page on the site, and the redirect would reveal which objects
    # exist in other organizations.
    re_path(r"^admin/r/", not_found),
    path("admin/", admin.site.urls),
    *patterns.urlpatterns,
    *([re_path(r"^docs(?P<path>|/.*)$", documentation, name="documentation")] if IN_DEVELOPMENT else []),
]

handler400 = patterns.handler400
handler403 = patterns.handler403
handler404 = patterns.handler404
handler500 = patterns.handler500

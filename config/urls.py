"""Which address opens which door."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from hookhub.dialects import DIALECTS

urlpatterns = [
    path("", RedirectView.as_view(url="/v1/")),
    path("v1/", include("hookhub.api.urls")),
    path("admin/", admin.site.urls),
    *[path(prefix, include(list(dialect.routes))) for dialect in DIALECTS.values() for prefix in dialect.prefixes],
]

handler400 = "hookhub.api.errors.malformed_request"
handler403 = "hookhub.api.errors.forbidden"
handler404 = "hookhub.api.errors.not_found"
handler500 = "hookhub.api.errors.server_error"

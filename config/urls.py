"""Which address opens which door."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(url="/v1/")),
    path("v1/", include("hookhub.api.urls")),
    path("admin/", admin.site.urls),
]

handler404 = "hookhub.api.errors.not_found"
handler500 = "hookhub.api.errors.server_error"

"""HookHub within a Django project: ``path("webhooks/", include("hookhub.urls"))``."""

from django.urls import path, re_path

from hookhub.mounting import answer

app_name = "hookhub"
urlpatterns = [
    path("", answer, {"path": ""}, name="home"),
    path("v1/", answer, {"path": "v1/"}, name="api"),
    path("portal/members", answer, {"path": "portal/members"}, name="portal"),
    re_path(r"^(?P<path>[\s\S]*)$", answer),
]

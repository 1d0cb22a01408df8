"""The shop's URLs, with HookHub under a prefix."""

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    path("", lambda request: HttpResponse("the shop"), name="home"),
    path("login/", LoginView.as_view(template_name="login.html"), name="login"),
    path("office/", admin.site.urls),
    path("webhooks/", include("hookhub.urls")),
]

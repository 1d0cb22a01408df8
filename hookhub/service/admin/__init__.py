"""The service's admin site: HookHub's name, its dashboard in front, and its own pages of users."""

from functools import partial
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from hookhub.admin import dashboard
from hookhub.service.admin import users

if settings.HOOKHUB_ALLAUTH:
    from hookhub.service.admin import login_records  # noqa: F401 - it registers its pages
admin.site.site_header = admin.site.site_title = "HookHub"
admin.site.index_title = "Overview"
# The most used pages are linked in the header, and the lists need the width.
admin.site.enable_nav_sidebar = False
admin.site.index_template = "hookhub/admin/index.html"
admin.site.password_change = users.change_own_password  # type: ignore[method-assign, assignment]
_index = admin.site.index


def index(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Show the dashboard; its template loads the state only if the user may see it, so it costs nothing otherwise."""
    return _index(request, {"dashboard": partial(dashboard.load, request), **(extra_context or {})})


admin.site.index = index  # type: ignore[method-assign, assignment]

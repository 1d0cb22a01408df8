"""The operator's view: what the system owes, what it has done, and the levers to change both."""

from functools import partial

from django.contrib import admin

from hookhub.admin import access, event_types, events, log, organizations, webhooks
from hookhub.admin.state import at_a_glance

__all__ = ["access", "event_types", "events", "log", "organizations", "webhooks"]

admin.site.site_header = admin.site.site_title = "HookHub"
admin.site.index_title = "At a glance"
# The few pages that matter are in the header, and the lists need the room.
admin.site.enable_nav_sidebar = False
admin.site.index_template = "hookhub/admin/index.html"
# The template asks for the state while it is rendered, so that nobody who may not see it costs the queries.
admin.site.index = partial(admin.site.index, extra_context={"at_a_glance": at_a_glance})  # type: ignore[method-assign]

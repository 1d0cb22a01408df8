"""The Django app of the API, the admin, memberships and API keys."""

from django.apps import AppConfig


class HookhubConfig(AppConfig):
    name = "hookhub"
    verbose_name = "Access"
    default_auto_field = "django.db.models.BigAutoField"

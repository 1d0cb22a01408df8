"""The Django app configuration of the engine."""

from importlib import import_module
from types import ModuleType

from django.apps import AppConfig
from django.conf import settings

from deliveries import defaults


class DeliveriesConfig(AppConfig):
    name = "deliveries"
    verbose_name = "Deliveries"
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType) -> None:
        super().__init__(app_name, app_module)
        # Before any module of an app is loaded, because some read the settings.
        defaults.fill(settings)

    def ready(self) -> None:
        """Register the system checks."""
        import_module("deliveries.checks")

"""The Django app of what only the service has: its commands, its look, and its admin site as a whole."""

from importlib import import_module

from django.apps import AppConfig


class ServiceConfig(AppConfig):
    name = "hookhub.service"
    verbose_name = "Service"

    def ready(self) -> None:
        """Register the system checks."""
        import_module("hookhub.service.checks")

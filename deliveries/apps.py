"""The engine as a Django app."""

from django.apps import AppConfig

from deliveries import arrays


class DeliveriesConfig(AppConfig):
    name = "deliveries"
    verbose_name = "Deliveries"

    def ready(self) -> None:
        """Teach the database's driver what the engine's statements are given, before anything connects."""
        arrays.register()

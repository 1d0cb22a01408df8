"""The Django app configuration of the engine."""

from django.apps import AppConfig

from deliveries.db import arrays


class DeliveriesConfig(AppConfig):
    name = "deliveries"
    verbose_name = "Deliveries"

    def ready(self) -> None:
        """Register the binary array types with psycopg before the first connection is opened."""
        arrays.register()

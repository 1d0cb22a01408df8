"""The doors as a Django app."""

from django.apps import AppConfig


class HookhubConfig(AppConfig):
    name = "hookhub"
    verbose_name = "Access"

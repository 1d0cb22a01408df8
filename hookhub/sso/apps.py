"""The Django app of what logins need in the database; installed only if django-allauth logs people in."""

from django.apps import AppConfig


class SingleSignOnConfig(AppConfig):
    name = "hookhub.sso"
    label = "sso"
    verbose_name = "Single sign-on"

"""The shop's own admin site."""

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig


class Office(admin.AdminSite):
    """The admin site under another name and title."""

    site_header = "The shop's office"


class OfficeConfig(AdminConfig):
    default_site = "shop.office.Office"

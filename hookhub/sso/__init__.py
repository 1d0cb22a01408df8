"""Logins by OpenID Connect and with a second factor, by django-allauth; imported only if one of them is configured."""

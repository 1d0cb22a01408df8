"""What the web processes know together about logins: wrong codes, and codes that were used."""

from django.db import models

from deliveries.timezone import DateTimeField


class Remembered(models.Model):
    """A value of the cache that django-allauth counts with, until it expires."""

    key = models.TextField(primary_key=True)
    value = models.JSONField()
    expires_at = DateTimeField()

    class Meta:
        db_table = "hookhub_login_cache"
        indexes = (models.Index(fields=["expires_at"], name="login_cache_by_expiry"),)

    def __str__(self) -> str:
        """Return what it is about."""
        return self.key

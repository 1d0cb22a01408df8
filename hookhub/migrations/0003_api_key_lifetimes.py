"""Add expiry, rolling with an overlap and allowed networks to API keys; existing keys stay unrestricted."""

import django.contrib.postgres.fields
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("hookhub", "0002_event_types")]

    operations = [
        migrations.AddField("apikey", "previous_secret_hash", models.BinaryField(editable=False, null=True)),
        migrations.AddField("apikey", "previous_secret_expires_at", models.DateTimeField(editable=False, null=True)),
        migrations.AddField(
            "apikey",
            "allowed_networks",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=50), blank=True, db_default=[], default=list, size=None
            ),
        ),
        migrations.AddField("apikey", "rolled_at", models.DateTimeField(editable=False, null=True)),
        migrations.AddField("apikey", "expires_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("apikey", "expiry_warned_at", models.DateTimeField(editable=False, null=True)),
        migrations.AddIndex(
            "apikey",
            models.Index(
                condition=Q(("expires_at__isnull", False), ("expiry_warned_at", None), ("revoked_at", None)),
                fields=["expires_at"],
                name="api_key_to_warn_of",
            ),
        ),
    ]

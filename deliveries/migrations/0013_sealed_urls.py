"""Encrypt secret URLs: the existing column keeps the masked URL, and a new column holds the encrypted one.

Existing rows stay as they are, so that processes of the previous version can still send. `manage.py reencrypt_secrets`
encrypts them once every process has been updated.
"""

from django.db import migrations, models

from deliveries.models import Host


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0012_limits")]

    operations = [
        # The database column keeps its name, so the index stays.
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveIndex("webhook", "webhook_host")]),
        # With the column named explicitly, renaming the field does not change the database.
        migrations.AlterField("webhook", "url", models.CharField(db_column="url", max_length=2048)),
        migrations.RenameField("webhook", "url", "stored_url"),
        migrations.AlterField(
            "webhook", "stored_url", models.CharField(db_column="url", max_length=2048, verbose_name="URL")
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddIndex(
                    "webhook",
                    models.Index(Host("stored_url"), name="webhook_host"),
                )
            ]
        ),
        migrations.AddField("webhook", "sealed_url", models.BinaryField(null=True)),
    ]

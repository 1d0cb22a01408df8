"""URLs that may not be shown are sealed: the column keeps what may be shown, and a new one the sealed URL.

What is there stays as it is, so that the processes of the version before go on sending; `manage.py reencrypt_secrets`
seals it once every process has been updated.
"""

from django.db import migrations, models

from deliveries.models import Host


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0012_limits")]

    operations = [
        # The index is on the column, which keeps its name.
        migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveIndex("webhook", "webhook_host")]),
        # With the column named, what follows is the model's business alone.
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

"""Create the table of registered event types, which the previous version ignores."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0006_dialects"), ("hookhub", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="OwnEventType",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("type", models.CharField(max_length=200)),
                ("description", models.CharField(blank=True, max_length=500)),
                ("schema", models.TextField(blank=True, null=True)),
                ("example", models.TextField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("changed_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="event_types",
                        to="deliveries.organization",
                    ),
                ),
            ],
            options={"verbose_name": "custom event type"},
        ),
        migrations.AddConstraint(
            "owneventtype", models.UniqueConstraint(fields=["organization", "type"], name="event_type_once")
        ),
    ]

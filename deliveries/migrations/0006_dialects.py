"""Add the organization's dialect and the validation of its events; make its default format optional.

Both columns have a default in the database, so that processes of the previous version keep working during the rollout.
Existing organizations keep their default format; only new ones may have none.
"""

import deliveries.systems
import deliveries.formats
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0005_arrivals")]

    operations = [
        migrations.AddField(
            "organization",
            "default_dialect",
            models.CharField(
                choices=deliveries.systems.choices, db_default="native", default="native", max_length=40
            ),
        ),
        migrations.AddField(
            "organization", "validate_events", models.BooleanField(db_default=False, default=False)
        ),
        migrations.AlterField(
            "organization",
            "default_format",
            models.CharField(blank=True, choices=deliveries.formats.choices, max_length=40, null=True),
        ),
    ]

"""The system whose words an organization uses, a default format that may be left to it, and events checked or not.

Both columns have the database's own default, so that the processes of the version before go on through the change. A
default format that is set stays set; only organizations made from here on may have none.
"""

import deliveries.dialects
import deliveries.formats
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0005_arrivals")]

    operations = [
        migrations.AddField(
            "organization",
            "default_dialect",
            models.CharField(
                choices=deliveries.dialects.choices, db_default="native", default="native", max_length=40
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

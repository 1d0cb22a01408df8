"""Add the organization's option to create repositories on the first event about them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0010_event_hops")]

    operations = [
        migrations.AddField("organization", "create_repositories", models.BooleanField(db_default=False, default=False))
    ]

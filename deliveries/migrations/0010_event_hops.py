"""An event remembers through which deployments it came, so that loops end."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0009_workers")]

    operations = [migrations.AddField("event", "hops", models.TextField(null=True))]

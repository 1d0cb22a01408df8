"""Store with an event how often it has passed through each deployment, so that loops can be stopped."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0009_workers")]

    operations = [migrations.AddField("event", "hops", models.TextField(null=True))]

"""Create the table of worker heartbeats, so that a deployment without running workers is noticed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0008_audit_log")]

    operations = [
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("id", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=255)),
                ("pid", models.PositiveIntegerField()),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                ("stopped_at", models.DateTimeField(null=True)),
            ],
        ),
    ]

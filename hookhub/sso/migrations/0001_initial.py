"""Create the table of the cache that web processes share."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Remembered",
            fields=[
                ("key", models.TextField(primary_key=True, serialize=False)),
                ("value", models.JSONField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "db_table": "hookhub_login_cache",
                "indexes": [models.Index(fields=["expires_at"], name="login_cache_by_expiry")],
            },
        ),
    ]

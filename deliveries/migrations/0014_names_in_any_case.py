"""Index organizations and repositories by lower-case name, for GitHub's case-insensitive paths."""

from django.db import migrations, models
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0013_sealed_urls")]

    operations = [
        migrations.AddIndex("organization", models.Index(Lower("slug"), name="organization_in_any_case")),
        migrations.AddIndex(
            "repository", models.Index("organization", Lower("name"), name="repository_in_any_case")
        ),
    ]

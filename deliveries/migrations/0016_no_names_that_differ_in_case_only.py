"""Make the names of organizations, and of an organization's repositories, unique regardless of case.

Existing rows whose names differ only in case are exempt.
"""

from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Lower

# The oldest of several rows with the same name is covered by the unique constraint; the others are marked as exempt.
KEEP_SLUGS = """
UPDATE deliveries_organization AS later SET kept_slug = slug
WHERE EXISTS (
    SELECT FROM deliveries_organization AS earlier WHERE lower(earlier.slug) = lower(later.slug) AND earlier.id < later.id
)
"""
KEEP_NAMES = """
UPDATE deliveries_repository AS later SET kept_name = name
WHERE EXISTS (
    SELECT FROM deliveries_repository AS earlier
    WHERE earlier.organization_id = later.organization_id
      AND lower(earlier.name) = lower(later.name)
      AND earlier.id < later.id
)
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0015_one_line_names")]

    operations = [
        migrations.AddField("organization", "kept_slug", models.CharField(max_length=100, null=True, editable=False)),
        migrations.AddField("repository", "kept_name", models.CharField(max_length=100, null=True, editable=False)),
        migrations.RunSQL(KEEP_SLUGS, migrations.RunSQL.noop),
        migrations.RunSQL(KEEP_NAMES, migrations.RunSQL.noop),
        migrations.AddConstraint(
            "organization",
            models.UniqueConstraint(
                Lower("slug"),
                name="organization_slug_in_any_case_unique",
                condition=Q(kept_slug=None) | ~Q(kept_slug=F("slug")),
            ),
        ),
        migrations.AddConstraint(
            "repository",
            models.UniqueConstraint(
                "organization",
                Lower("name"),
                name="repository_name_in_any_case_unique",
                condition=Q(kept_name=None) | ~Q(kept_name=F("name")),
            ),
        ),
    ]

"""Validate that names contain no API key or secret. The database does not change."""

import django.core.validators
from django.db import migrations, models

import deliveries.plain_text

NAME = django.core.validators.RegexValidator(
    "^[A-Za-z0-9._-]{1,100}\\Z", "Use 1 to 100 letters, digits, dots, hyphens and underscores."
)


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0016_no_names_that_differ_in_case_only")]

    operations = [
        migrations.AlterField(
            "organization",
            "slug",
            models.CharField(max_length=100, unique=True, validators=[NAME, deliveries.plain_text.validate]),
        ),
        migrations.AlterField(
            "repository",
            "name",
            models.CharField(max_length=100, validators=[NAME, deliveries.plain_text.validate]),
        ),
    ]

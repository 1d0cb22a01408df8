"""Validate that names are one line. The database does not change; stored names become one line when displayed."""

import deliveries.plain_text
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deliveries', '0014_names_in_any_case'),
    ]

    operations = [
        migrations.AlterField(
            model_name='organization',
            name='name',
            field=models.CharField(blank=True, max_length=200, validators=[deliveries.plain_text.validate]),
        ),
    ]

"""Restrict API key names to one line. No SQL: stored names are put on one line where they are displayed."""

import deliveries.plain_text
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('hookhub', '0004_change_notices'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apikey',
            name='name',
            field=models.CharField(blank=True, max_length=200, validators=[deliveries.plain_text.validate]),
        ),
    ]

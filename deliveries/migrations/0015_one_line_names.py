"""Names must be one line; nothing of the database changes, and what is stored is made one line where it is shown."""

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

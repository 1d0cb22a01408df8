"""Retention in batches: attempts vacuumed as early as the rest, and deleted webhooks found without looking at all."""

from django.db import migrations, models
from django.db.models import Q

# An attempt is written once, so that retention alone makes room in its table. Left to the default, a fifth of the table
# would be dead before anybody cleaned up, and then at a fraction of the speed at which rows are deleted.
TUNING = """
ALTER TABLE deliveries_attempt SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0)
"""

UNTUNING = """
ALTER TABLE deliveries_attempt RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay)
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0003_lines")]

    operations = [
        migrations.AddIndex(
            "webhook",
            models.Index(condition=Q(deleted_at__isnull=False), fields=["id"], name="webhook_deleted"),
        ),
        migrations.RunSQL(TUNING, UNTUNING),
    ]

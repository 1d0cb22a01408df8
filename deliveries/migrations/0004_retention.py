"""Prepare retention in batches: vacuum attempts early, and index deleted webhooks."""

from django.db import migrations, models
from django.db.models import Q

# Attempts are rarely updated, so nearly all dead rows come from retention. With the defaults, autovacuum would start
# when a fifth of the table is dead, and then be much slower than the deletions.
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

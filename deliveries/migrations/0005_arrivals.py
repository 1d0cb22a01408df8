"""Events that wait for their fan-out stand in a table of their own, so that no event is ever written twice."""

import django.db.models.deletion
from django.db import migrations, models

TABLE = "deliveries_arrival"

FILL = f"""
INSERT INTO {TABLE} (source, event_id)
SELECT coalesce(repository_id, -organization_id), id FROM deliveries_event WHERE fanned_out_at IS NULL
"""

# Its rows come and go with every event. An event is written once and stays as it is, so that its pages may be full.
TUNING = f"""
ALTER TABLE {TABLE} SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 2000
);
ALTER TABLE deliveries_event RESET (fillfactor);
"""

UNTUNING = "ALTER TABLE deliveries_event SET (fillfactor = 90)"

# Where it is put back, an event has been fanned out unless it is among the arrivals; when, nobody knows any more.
UNFILL = f"""
UPDATE deliveries_event e SET fanned_out_at = accepted_at
WHERE NOT EXISTS (SELECT FROM {TABLE} a WHERE a.event_id = e.id)
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0004_retention")]

    operations = [
        migrations.CreateModel(
            name="Arrival",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "source", "event_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("source", models.BigIntegerField()),
                (
                    "event",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="deliveries.event",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(FILL, UNFILL),
        migrations.RunSQL(TUNING, UNTUNING),
        migrations.RemoveIndex("event", "event_to_fan_out"),
        migrations.RemoveField("event", "fanned_out_at"),
    ]

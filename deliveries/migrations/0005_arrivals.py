"""Create the outbox table of events to be fanned out, so that event rows are never updated."""

import django.db.models.deletion
from django.db import migrations, models

TABLE = "deliveries_arrival"

FILL = f"""
INSERT INTO {TABLE} (source, event_id)
SELECT coalesce(repository_id, -organization_id), id FROM deliveries_event WHERE fanned_out_at IS NULL
"""

# Each event inserts and deletes one row of this table. Event rows are never updated, so their pages can be full.
TUNING = f"""
ALTER TABLE {TABLE} SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 2000
);
ALTER TABLE deliveries_event RESET (fillfactor);
"""

UNTUNING = "ALTER TABLE deliveries_event SET (fillfactor = 90)"

# For the reverse migration: events without an outbox row were fanned out. The time is unknown, so use accepted_at.
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

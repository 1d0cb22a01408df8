"""Prepare the tables for use as a queue: ids generated in SQL, fill factors, and more frequent autovacuum."""

from django.db import migrations

# A UUIDv7 (RFC 9562) from the given time and the random bits of a UUIDv4: PostgreSQL 15 to 17 have no uuidv7().
UUID7 = """
CREATE OR REPLACE FUNCTION deliveries_uuid7(moment timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_bit(
            set_bit(
                overlay(
                    uuid_send(gen_random_uuid())
                    placing substring(int8send(floor(extract(epoch FROM moment) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6
                ),
                52, 1
            ),
            53, 1
        ),
        'hex'
    )::uuid
$$
"""

# A delivery is updated at least twice. Free space on its page and early vacuuming keep the indexes small.
TUNING = """
ALTER TABLE deliveries_delivery SET (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE deliveries_event SET (
    fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE deliveries_webhook SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
"""

UNTUNING = """
ALTER TABLE deliveries_delivery RESET (
    fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
    autovacuum_analyze_scale_factor, autovacuum_vacuum_cost_delay
);
ALTER TABLE deliveries_event RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay);
ALTER TABLE deliveries_webhook RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0001_initial")]

    operations = [
        migrations.RunSQL(UUID7, "DROP FUNCTION deliveries_uuid7(timestamptz)"),
        migrations.RunSQL(TUNING, UNTUNING),
    ]

"""Add per-organization limits, and an index to count webhooks by the host of their URL."""

import deliveries.limits
import deliveries.models
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # The index is built concurrently, so that requests continue meanwhile.
    atomic = False

    dependencies = [("deliveries", "0011_create_repositories")]

    operations = [
        migrations.RunSQL("SET statement_timeout = 0; SET lock_timeout = 0", migrations.RunSQL.noop),
        # Drop the index that an interrupted run may have left. The column is added last, so that a rerun succeeds.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS webhook_host", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "webhook",
            models.Index(deliveries.models.Host("url"), name="webhook_host"),
        ),
        migrations.RunSQL("RESET statement_timeout; RESET lock_timeout", migrations.RunSQL.noop),
        migrations.AddField(
            "organization",
            "limits",
            models.JSONField(blank=True, null=True, validators=[deliveries.limits.validate]),
        ),
    ]

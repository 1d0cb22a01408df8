"""Organizations may have limits of their own, and webhooks are counted by the host they lead to."""

import deliveries.limits
import deliveries.models
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Requests go on while all webhooks are read for the new index.
    atomic = False

    dependencies = [("deliveries", "0011_create_repositories")]

    operations = [
        migrations.RunSQL("SET statement_timeout = 0; SET lock_timeout = 0", migrations.RunSQL.noop),
        # What an earlier run has left that was interrupted. The column comes last, so that this can be run again.
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

"""Index a webhook's scheduled deliveries, so that disabling or deleting it does not read its whole log."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # The index is built concurrently, so that deliveries continue meanwhile.
    atomic = False

    dependencies = [("deliveries", "0006_dialects")]

    operations = [
        # Lift the timeouts on this connection; RESET restores the values set at connection time.
        migrations.RunSQL("SET statement_timeout = 0; SET lock_timeout = 0", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "delivery",
            models.Index(
                condition=Q(state="pending", line=0), fields=["webhook", "id"], name="delivery_later_of_webhook"
            ),
        ),
        migrations.RunSQL("RESET statement_timeout; RESET lock_timeout", migrations.RunSQL.noop),
    ]

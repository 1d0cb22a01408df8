"""What a webhook is owed later is found without reading its log, when it is disabled or deleted."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # Deliveries go on while a long log is read for the new index.
    atomic = False

    dependencies = [("deliveries", "0006_dialects")]

    operations = [
        # As long as it takes, on this connection; what is set when a connection is made comes back.
        migrations.RunSQL("SET statement_timeout = 0; SET lock_timeout = 0", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "delivery",
            models.Index(
                condition=Q(state="pending", line=0), fields=["webhook", "id"], name="delivery_later_of_webhook"
            ),
        ),
        migrations.RunSQL("RESET statement_timeout; RESET lock_timeout", migrations.RunSQL.noop),
    ]

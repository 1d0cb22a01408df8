"""What a webhook is owed later is found without reading its log, when it is disabled or deleted."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    # Deliveries go on while a long log is read for the new index.
    atomic = False

    dependencies = [("deliveries", "0006_dialects")]

    operations = [
        AddIndexConcurrently(
            "delivery",
            models.Index(
                condition=Q(state="pending", line=0), fields=["webhook", "id"], name="delivery_later_of_webhook"
            ),
        ),
    ]

"""Add the readiness of pending deliveries and the average response time of webhooks, for fair claims."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0002_queue")]

    operations = [
        migrations.RemoveIndex("webhook", "webhook_scope"),
        migrations.AddIndex("webhook", models.Index(fields=["organization", "repository"], name="webhook_scope")),
        migrations.AlterField(
            "webhook",
            "organization",
            models.ForeignKey(
                db_index=False,
                on_delete=models.PROTECT,
                related_name="webhooks",
                to="deliveries.organization",
            ),
        ),
        migrations.AddField("webhook", "pace", models.DurationField(editable=False, null=True)),
        migrations.AddField(
            "delivery",
            "line",
            models.PositiveSmallIntegerField(
                choices=[
                    (0, "scheduled"),
                    (1, "ready: first attempt"),
                    (2, "ready: retry, redelivery or release"),
                ],
                default=1,
                # A default in the database, so that processes of the previous version keep working during the rollout.
                db_default=1,
            ),
        ),
        migrations.AddConstraint(
            "delivery", models.CheckConstraint(condition=Q(line__in=(0, 1, 2)), name="delivery_line_known")
        ),
        migrations.RemoveIndex("delivery", "delivery_due"),
        migrations.RemoveIndex("delivery", "delivery_next_due"),
        migrations.AddIndex(
            "delivery",
            models.Index(
                condition=Q(state="pending", line__gt=0),
                fields=["webhook", "line", "due_at", "id"],
                name="delivery_in_line",
            ),
        ),
        migrations.AddIndex(
            "delivery",
            models.Index(condition=Q(state="pending", line=0), fields=["due_at", "id"], name="delivery_due_later"),
        ),
    ]

"""Create the append-only audit log: triggers reject updates, truncation, and deletions except retention's."""

import django.db.models.deletion
from django.db import migrations, models

import deliveries.models

# Retention sets a transaction-local limit up to which it deletes; entries of the last day are protected even so.
APPEND_ONLY = """
CREATE FUNCTION deliveries_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.recorded_at < nullif(current_setting('hookhub.audit_expired_before', true), '')::timestamptz
           AND OLD.recorded_at < now() - interval '1 day' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'The audit log is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_entries_stay BEFORE UPDATE OR DELETE ON deliveries_auditentry
    FOR EACH ROW EXECUTE FUNCTION deliveries_audit_is_append_only();
CREATE TRIGGER audit_log_is_not_emptied BEFORE TRUNCATE ON deliveries_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION deliveries_audit_is_append_only();
"""

NOT_APPEND_ONLY = """
DROP TRIGGER audit_log_is_not_emptied ON deliveries_auditentry;
DROP TRIGGER audit_entries_stay ON deliveries_auditentry;
DROP FUNCTION deliveries_audit_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0007_retries_of_a_webhook")]

    operations = [
        migrations.CreateModel(
            "AuditEntry",
            [
                (
                    "id",
                    models.UUIDField(
                        default=deliveries.models.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("recorded_at", models.DateTimeField()),
                ("action", models.CharField(max_length=60)),
                ("actor_kind", models.CharField(max_length=10)),
                ("actor_id", models.CharField(max_length=200)),
                ("actor_name", models.CharField(blank=True, max_length=200)),
                ("address", models.CharField(blank=True, max_length=200)),
                ("request_id", models.CharField(blank=True, max_length=200)),
                ("target_kind", models.CharField(max_length=40)),
                ("target_id", models.CharField(max_length=200)),
                ("target_label", models.CharField(max_length=200)),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="deliveries.organization",
                    ),
                ),
                ("organization_slug", models.CharField(blank=True, max_length=100)),
                ("before", models.TextField(null=True)),
                ("after", models.TextField(null=True)),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit log",
                "indexes": [
                    models.Index(fields=["organization", "-id"], name="audit_of_organization"),
                    models.Index(fields=["organization", "action", "-id"], name="audit_of_org_by_action"),
                    models.Index(fields=["action", "-id"], name="audit_by_action"),
                    models.Index(fields=["actor_id", "-id"], name="audit_by_actor"),
                    models.Index(fields=["target_id", "-id"], name="audit_by_target"),
                ],
            },
        ),
        migrations.RunSQL(APPEND_ONLY, NOT_APPEND_ONLY),
    ]

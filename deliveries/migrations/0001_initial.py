"""Create the tables of the engine, prepared for use as a queue, and the append-only audit log."""

import datetime

import deliveries.formats
import deliveries.limits
import deliveries.models.ids
import deliveries.models.webhook_schema
import deliveries.plain_text
import deliveries.proofs
import deliveries.systems
import django.contrib.postgres.fields
import deliveries.models.arrays
import django.core.validators
import django.db.models.deletion
import django.db.models.fields.json
import django.db.models.functions.comparison
import django.db.models.functions.text
import deliveries.timezone
from django.core import mail
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# A UUIDv7 (RFC 9562) from the given time and the random bits of a UUIDv4: PostgreSQL 15 to 17 have no uuidv7().
UUID7 = """
CREATE FUNCTION hookhub_uuid7(moment timestamptz) RETURNS uuid
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

# What the index webhook_by_topic contains of a webhook: deliveries.models.webhook_schema.TopicKeys explains it.
WEBHOOK_KEYS = """
CREATE FUNCTION hookhub_webhook_keys(
    organization_id bigint, repository_id bigint, events varchar[], deleted_at timestamptz, ended_at timestamptz,
    proof varchar, verified_at timestamptz
) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY(
        SELECT organization_id::text || '/' || coalesce(repository_id::text, '') || '/' || topic
        FROM unnest(events) AS topic
        WHERE deleted_at IS NULL AND ended_at IS NULL AND (proof IS NULL OR verified_at IS NOT NULL)
    )
$$
"""

# A volatile function has a snapshot of its own. For a webhook that the calling statement has locked the count is exact.
REQUESTS_IN_FLIGHT = """
CREATE FUNCTION hookhub_requests_in_flight(webhook bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE STRICT AS $$
BEGIN
    RETURN (SELECT count(*) FROM hookhub_delivery WHERE webhook_id = webhook AND state = 'sending');
END
$$
"""

# A delivery is updated at least twice: free space on its page and early vacuuming keep the indexes small. An outbox
# row lives for milliseconds. Dead attempts and events come from retention only; with the defaults, autovacuum would
# start when a fifth of the table is dead, and then be much slower than the deletions.
TUNING = """
ALTER TABLE hookhub_delivery SET (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE hookhub_outbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 2000
);
ALTER TABLE hookhub_event SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE hookhub_attempt SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE hookhub_webhook SET (
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500
);
"""

# Retention sets a transaction-local limit up to which it deletes; entries of the last day are protected even so.
APPEND_ONLY = """
CREATE FUNCTION hookhub_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER audit_entries_stay BEFORE UPDATE OR DELETE ON hookhub_audit_entry
    FOR EACH ROW EXECUTE FUNCTION hookhub_audit_is_append_only();
CREATE TRIGGER audit_log_is_not_emptied BEFORE TRUNCATE ON hookhub_audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION hookhub_audit_is_append_only();
"""

NOT_APPEND_ONLY = """
DROP TRIGGER audit_log_is_not_emptied ON hookhub_audit_entry;
DROP TRIGGER audit_entries_stay ON hookhub_audit_entry;
DROP FUNCTION hookhub_audit_is_append_only();
"""


def let_tests_empty_tables(_: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Disable the trigger against TRUNCATE in a database that Django makes for tests.

    A project's TransactionTestCase and LiveServerTestCase empty all tables by TRUNCATE after each test.
    """
    # Django's test environment has it before any database is made.
    if hasattr(mail, "outbox"):
        schema_editor.execute("ALTER TABLE hookhub_audit_entry DISABLE TRIGGER audit_log_is_not_emptied")


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.RunSQL(WEBHOOK_KEYS, "DROP FUNCTION hookhub_webhook_keys"),
        migrations.RunSQL(REQUESTS_IN_FLIGHT, "DROP FUNCTION hookhub_requests_in_flight"),
        migrations.CreateModel(
            name='Worker',
            fields=[
                ('id', models.CharField(max_length=16, primary_key=True, serialize=False)),
                ('host', models.CharField(max_length=255)),
                ('pid', models.PositiveIntegerField()),
                ('started_at', models.DateTimeField()),
                ('seen_at', models.DateTimeField()),
                ('stopped_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'hookhub_worker',
            },
        ),
        migrations.CreateModel(
            name='Leader',
            fields=[
                ('work', models.CharField(max_length=30, primary_key=True, serialize=False)),
                ('worker_id', models.CharField(max_length=16)),
                ('ends_at', models.DateTimeField()),
            ],
            options={
                'db_table': 'hookhub_leader',
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Organization',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.CharField(max_length=100, unique=True, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9._-]{1,100}\\Z', 'Use 1 to 100 letters, digits, dots, hyphens and underscores.'), deliveries.plain_text.validate])),
                ('name', models.CharField(blank=True, max_length=200, validators=[deliveries.plain_text.validate])),
                ('default_dialect', models.CharField(choices=deliveries.systems.choices, db_default='native', default='native', max_length=40)),
                ('default_format', models.CharField(blank=True, choices=deliveries.formats.choices, max_length=40, null=True)),
                ('validate_events', models.BooleanField(db_default=False, default=False)),
                ('create_repositories', models.BooleanField(db_default=False, default=False)),
                ('verify_webhooks', models.BooleanField(db_default=False, default=False)),
                ('limits', models.JSONField(blank=True, null=True, validators=[deliveries.limits.validate])),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
            ],
            options={
                'db_table': 'hookhub_organization',
                'constraints': [models.UniqueConstraint(django.db.models.functions.text.Lower('slug'), name='organization_slug_in_any_case_unique')],
            },
        ),
        migrations.CreateModel(
            name='Repository',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9._-]{1,100}\\Z', 'Use 1 to 100 letters, digits, dots, hyphens and underscores.'), deliveries.plain_text.validate])),
                ('private', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='repositories', to='deliveries.organization')),
            ],
            options={
                'verbose_name_plural': 'repositories',
                'db_table': 'hookhub_repository',
                'constraints': [
                    models.UniqueConstraint(fields=('organization', 'name'), name='repository_name_unique'),
                    models.UniqueConstraint(models.F('organization'), django.db.models.functions.text.Lower('name'), name='repository_name_in_any_case_unique'),
                ],
            },
        ),
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uid', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, unique=True)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('kind', models.CharField(choices=[('push', 'HookHub sends them'), ('poll', 'the receiver fetches them')], default='push', editable=False, max_length=10)),
                ('stored_url', models.CharField(db_column='url', max_length=2048, verbose_name='URL')),
                ('sealed_url', models.BinaryField(null=True)),
                ('events', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), size=None)),
                ('format', models.CharField(choices=deliveries.formats.choices, max_length=40)),
                ('content_type', models.CharField(default='json', max_length=10)),
                ('sealed_secrets', models.BinaryField()),
                ('sealed_headers', models.BinaryField(null=True)),
                ('verify_ssl', models.BooleanField(default=True)),
                ('retry_schedule', django.contrib.postgres.fields.ArrayField(base_field=models.DurationField(), blank=True, null=True, size=None)),
                ('timeout', models.DurationField(blank=True, null=True)),
                ('max_in_flight', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('rate_requests', models.PositiveIntegerField(blank=True, null=True)),
                ('rate_per', models.PositiveIntegerField(blank=True, null=True)),
                ('auto_disable', models.BooleanField(default=True)),
                ('subscription', models.JSONField(blank=True, editable=False, null=True)),
                ('payload_filter', models.JSONField(blank=True, editable=False, null=True)),
                ('proof', models.CharField(blank=True, choices=deliveries.proofs.choices, editable=False, max_length=20, null=True)),
                ('verified_at', models.DateTimeField(editable=False, null=True)),
                ('request_origin', models.CharField(editable=False, max_length=255, null=True)),
                ('allowed_rate', models.PositiveIntegerField(editable=False, null=True)),
                ('pace_interval', models.DurationField(editable=False, null=True)),
                ('pace_lag', models.DurationField(editable=False, null=True)),
                ('next_request_at', models.DateTimeField(editable=False, null=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(editable=False, null=True)),
                ('expiry_warning_at', models.DateTimeField(editable=False, null=True)),
                ('expiry_mail_at', models.DateTimeField(editable=False, null=True)),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('changed_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('deleted_at', models.DateTimeField(editable=False, null=True)),
                ('disabled_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('enabled_at', models.DateTimeField(editable=False, null=True)),
                ('disabled_reason', models.CharField(choices=[('by_owner', 'by its owner'), ('failing', 'every attempt of a full retry schedule failed'), ('too_many_failures', 'too many consecutive failed attempts'), ('gone', 'the receiver is gone')], editable=False, max_length=20, null=True)),
                ('owner_notified_at', models.DateTimeField(editable=False, null=True)),
                ('failure_count', models.PositiveIntegerField(default=0, editable=False)),
                ('timeouts_in_a_row', models.PositiveIntegerField(default=0, editable=False)),
                ('last_delivery_at', models.DateTimeField(editable=False, null=True)),
                ('last_delivery_status', models.CharField(editable=False, max_length=20, null=True)),
                ('last_success_at', models.DateTimeField(editable=False, null=True)),
                ('latency_ewma', models.DurationField(editable=False, null=True)),
                ('backoff_until', models.DateTimeField(editable=False, null=True)),
                ('releasing_since', models.DateTimeField(editable=False, null=True)),
                ('review_since', models.DateTimeField(editable=False, null=True)),
                ('gone_at', models.DateTimeField(editable=False, null=True)),
                ('failing_since', models.DateTimeField(editable=False, null=True)),
                ('announced_percent', models.PositiveSmallIntegerField(editable=False, null=True)),
                ('announced_at', models.DateTimeField(editable=False, null=True)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='webhooks', to='deliveries.organization')),
                ('repository', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='webhooks', to='deliveries.repository')),
            ],
            options={
                'db_table': 'hookhub_webhook',
                'indexes': [
                    models.Index(fields=['organization', 'repository'], name='webhook_scope'),
                    deliveries.models.arrays.GinIndex(django.db.models.functions.comparison.Collate(deliveries.models.webhook_schema.TopicKeys('organization', 'repository', 'events', 'deleted_at', 'ended_at', 'proof', 'verified_at'), 'C'), fastupdate=False, name='webhook_by_topic'),
                    models.Index(condition=models.Q(('review_since__isnull', False), ('gone_at__isnull', False), _connector='OR'), fields=['id'], name='webhook_to_review'),
                    models.Index(condition=models.Q(('releasing_since__isnull', False)), fields=['id'], name='webhook_to_release'),
                    models.Index(condition=models.Q(('deleted_at__isnull', False)), fields=['id'], name='webhook_deleted'),
                    models.Index(deliveries.models.webhook_schema.Host('stored_url'), name='webhook_host'),
                    models.Index(condition=models.Q(('deleted_at', None), ('ended_at', None), ('expires_at__isnull', False)), fields=['expires_at'], name='webhook_leased'),
                    models.Index(condition=models.Q(('expiry_warning_at__isnull', False)), fields=['expiry_warning_at'], name='webhook_to_warn'),
                    models.Index(condition=models.Q(('expiry_mail_at__isnull', False)), fields=['expiry_mail_at'], name='webhook_to_mail'),
                    models.Index(django.db.models.fields.json.KeyTransform('api_key', 'subscription'), condition=models.Q(('subscription__isnull', False)), name='webhook_of_api_key'),
                    models.Index(django.db.models.fields.json.KeyTransform('callback', 'subscription'), condition=models.Q(('subscription__isnull', False)), name='webhook_of_callback'),
                    models.Index(condition=models.Q(('disabled_at__isnull', False), ('owner_notified_at', None)), fields=['id'], name='webhook_to_notify'),
                    models.Index(condition=models.Q(('deleted_at', None), ('disabled_at', None), ('failing_since__isnull', False), ('subscription__isnull', True)), fields=['id'], name='webhook_failing'),
                ],
                'constraints': [
                    models.UniqueConstraint(django.db.models.fields.json.KeyTransform('id', 'subscription'), condition=models.Q(('deleted_at', None), ('subscription__isnull', False)), name='webhook_once_per_subscription'),
                    models.CheckConstraint(condition=models.Q(models.Q(('disabled_at', None), ('disabled_reason', None)), models.Q(('disabled_at__isnull', False), ('disabled_reason__isnull', False)), _connector='OR'), name='webhook_disabled_with_reason'),
                    models.CheckConstraint(condition=models.Q(('events__len__gt', 0)), name='webhook_events_not_empty'),
                    models.CheckConstraint(condition=models.Q(('max_in_flight', None), ('max_in_flight__gt', 0), _connector='OR'), name='webhook_max_in_flight_positive'),
                    models.CheckConstraint(condition=models.Q(('verified_at', None), ('proof__isnull', False), _connector='OR'), name='webhook_verified_by_proof'),
                    models.CheckConstraint(condition=models.Q(models.Q(('allowed_rate', None), ('request_origin', None)), models.Q(('request_origin__isnull', False), ('verified_at__isnull', False)), _connector='OR'), name='webhook_granted_by_proof'),
                    models.CheckConstraint(condition=models.Q(('allowed_rate', None), ('allowed_rate__gt', 0), _connector='OR'), name='webhook_allowed_rate_positive'),
                    models.CheckConstraint(condition=models.Q(models.Q(('rate_per', None), ('rate_requests', None)), models.Q(('rate_per__isnull', False), ('rate_per__lte', models.F('rate_requests') * 10), ('rate_per__range', (1, 3600)), ('rate_requests__isnull', False), ('rate_requests__lte', models.F('rate_per') * 10000)), _connector='OR'), name='webhook_rate_limit_in_range'),
                    models.CheckConstraint(condition=models.Q(models.Q(('allowed_rate', None), ('next_request_at', None), ('pace_interval', None), ('pace_lag', None), ('rate_requests', None)), models.Q(models.Q(('rate_requests__isnull', False), ('allowed_rate__isnull', False), _connector='OR'), ('pace_interval__gt', datetime.timedelta(0)), ('pace_interval__isnull', False), ('pace_lag__isnull', False)), _connector='OR'), name='webhook_paced_by_limit'),
                    models.CheckConstraint(condition=models.Q(('ended_at', None), models.Q(('ended_at__gte', models.F('expires_at')), ('expires_at__isnull', False)), _connector='OR'), name='webhook_ended_with_lease'),
                    models.CheckConstraint(condition=models.Q(models.Q(('announced_at', None), ('announced_percent', None)), models.Q(('announced_at__isnull', False), ('announced_percent__isnull', False), ('failing_since__isnull', False)), _connector='OR'), name='webhook_announced_while_failing'),
                    models.CheckConstraint(condition=models.Q(models.Q(('kind', 'poll'), ('proof', None), ('rate_requests', None), ('sealed_url', None), ('stored_url', '')), ('kind', 'push'), _connector='OR'), name='webhook_polled_without_url'),
                ],
            },
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=200)),
                ('topics', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), size=None)),
                ('payload', models.BinaryField()),
                ('idempotency_key', models.CharField(max_length=255, null=True)),
                ('fingerprint', models.BinaryField(null=True)),
                ('hops', models.TextField(null=True)),
                ('trace', models.TextField(null=True)),
                ('occurred_at', models.DateTimeField()),
                ('accepted_at', models.DateTimeField()),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.organization')),
                ('repository', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.repository')),
                ('webhook', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.webhook')),
            ],
            options={
                'db_table': 'hookhub_event',
                'indexes': [
                    models.Index(fields=['organization', '-id'], name='event_log'),
                ],
                'constraints': [
                    models.UniqueConstraint(fields=('organization', 'idempotency_key'), name='event_idempotency_key_unique'),
                    models.CheckConstraint(condition=models.Q(('idempotency_key', None), ('fingerprint__isnull', False), _connector='OR'), name='event_key_with_fingerprint'),
                ],
            },
        ),
        migrations.CreateModel(
            name='OutboxEntry',
            fields=[
                ('pk', models.CompositePrimaryKey('partition', 'event_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('partition', models.BigIntegerField()),
                ('event', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='deliveries.event')),
            ],
            options={
                'db_table': 'hookhub_outbox',
            },
        ),
        migrations.CreateModel(
            name='Verification',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('proof', models.CharField(choices=deliveries.proofs.choices, max_length=20)),
                ('mode', models.CharField(choices=[('subscribe', 'Subscribe'), ('unsubscribe', 'Unsubscribe'), ('denied', 'Denied')], default='subscribe', max_length=12)),
                ('details', models.JSONField(default=dict)),
                ('host', models.CharField(max_length=255)),
                ('stored_url', models.CharField(db_column='url', max_length=2048, verbose_name='URL')),
                ('sealed_change', models.BinaryField(null=True)),
                ('lasts', models.DurationField(null=True)),
                ('challenge', models.CharField(max_length=64, null=True)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('sending', 'Sending'), ('verified', 'Verified'), ('failed', 'Failed'), ('superseded', 'Superseded')], default='pending', max_length=10)),
                ('attempts_made', models.PositiveSmallIntegerField(default=0)),
                ('failures', models.PositiveSmallIntegerField(default=0)),
                ('due_at', models.DateTimeField(null=True)),
                ('lease', models.UUIDField(null=True)),
                ('leased_until', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now)),
                ('finished_at', models.DateTimeField(null=True)),
                ('kept_for', models.DurationField()),
                ('forget_at', models.DateTimeField(null=True)),
                ('requests', models.JSONField(default=list)),
                ('last_started_at', models.DateTimeField(null=True)),
                ('last_duration', models.DurationField(null=True)),
                ('last_status', models.PositiveSmallIntegerField(null=True)),
                ('last_excerpt', models.TextField(blank=True)),
                ('last_error', models.TextField(blank=True)),
                ('last_failure', models.CharField(blank=True, max_length=20)),
                ('webhook', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='verifications', to='deliveries.webhook')),
            ],
            options={
                'db_table': 'hookhub_verification',
                'indexes': [
                    models.Index(condition=models.Q(('state', 'pending'), models.Q(('proof', 'websub'), _negated=True)), fields=['host', 'due_at'], name='verification_due'),
                    models.Index(condition=models.Q(('proof', 'websub'), ('state', 'pending')), fields=['host', 'due_at'], name='verification_due_of_hub'),
                    models.Index(condition=models.Q(('lease__isnull', False)), fields=['leased_until'], name='verification_leased'),
                    models.Index(fields=['webhook', '-id'], name='verification_log_of_webhook'),
                    models.Index(condition=models.Q(('forget_at__isnull', False)), fields=['forget_at'], name='verification_to_forget'),
                ],
                'constraints': [
                    models.UniqueConstraint(condition=models.Q(('lease__isnull', False)), fields=('host',), name='verification_once_per_host'),
                    models.UniqueConstraint(condition=models.Q(('state__in', ('pending', 'sending'))), fields=('webhook',), name='verification_once_per_webhook'),
                    models.CheckConstraint(condition=models.Q(models.Q(('mode', 'denied'), ('webhook', None)), models.Q(models.Q(('mode', 'denied'), _negated=True), ('webhook__isnull', False)), _connector='OR'), name='verification_of_webhook'),
                    models.CheckConstraint(condition=models.Q(('state__in', ('pending', 'sending', 'verified', 'failed', 'superseded'))), name='verification_state_known'),
                    models.CheckConstraint(condition=models.Q(models.Q(('challenge__isnull', False), ('lease__isnull', False), ('leased_until__isnull', False), ('state', 'sending')), models.Q(('challenge', None), ('lease__isnull', False), ('leased_until__isnull', False), ('state', 'superseded')), models.Q(models.Q(('state', 'sending'), _negated=True), ('challenge', None), ('lease', None), ('leased_until', None)), _connector='OR'), name='verification_leased_while_sending'),
                    models.CheckConstraint(condition=models.Q(models.Q(('due_at__isnull', False), ('state', 'pending')), models.Q(models.Q(('state', 'pending'), _negated=True), ('due_at', None)), _connector='OR'), name='verification_due_while_pending'),
                    models.CheckConstraint(condition=models.Q(models.Q(('finished_at', None), ('state__in', ('pending', 'sending'))), models.Q(models.Q(('state__in', ('pending', 'sending')), _negated=True), ('finished_at__isnull', False), ('sealed_change', None)), _connector='OR'), name='verification_change_while_open'),
                ],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('event_type', models.CharField(max_length=200)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('sending', 'Sending'), ('delivered', 'Delivered'), ('failed', 'Failed'), ('held', 'Held'), ('cancelled', 'Cancelled')], default='pending', max_length=10)),
                ('finish_reason', models.CharField(choices=[('delivered', 'delivered'), ('exhausted', 'retry schedule exhausted'), ('gone', 'the receiver is gone'), ('poison', 'poison message: its workers kept dying'), ('cancelled', 'cancelled'), ('lease_expired', "the webhook's lease has ended")], max_length=20, null=True)),
                ('readiness', models.PositiveSmallIntegerField(choices=[(0, 'scheduled'), (1, 'ready: first attempt'), (2, 'ready: retry, redelivery or release')], db_default=1, default=1)),
                ('attempts_made', models.PositiveIntegerField(default=0)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('lease_losses', models.PositiveSmallIntegerField(default=0)),
                ('redeliveries', models.PositiveIntegerField(default=0)),
                ('first_attempt_at', models.DateTimeField(null=True)),
                ('last_status', models.PositiveSmallIntegerField(null=True)),
                ('due_at', models.DateTimeField(null=True)),
                ('lease', models.UUIDField(null=True)),
                ('leased_at', models.DateTimeField(null=True)),
                ('leased_until', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now)),
                ('finished_at', models.DateTimeField(null=True)),
                ('event', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='deliveries', to='deliveries.event')),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.organization')),
                ('repository', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.repository')),
                ('webhook', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='deliveries', to='deliveries.webhook')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'db_table': 'hookhub_delivery',
                'indexes': [
                    models.Index(condition=models.Q(('readiness__gt', 0), ('state', 'pending')), fields=['webhook', 'readiness', 'due_at', 'id'], name='delivery_ready'),
                    models.Index(condition=models.Q(('readiness', 0), ('state', 'pending')), fields=['due_at', 'id'], name='delivery_scheduled'),
                    models.Index(condition=models.Q(('readiness', 0), ('state', 'pending')), fields=['webhook', 'id'], name='delivery_scheduled_of_webhook'),
                    models.Index(condition=models.Q(('state', 'sending')), fields=['webhook', 'leased_until'], name='delivery_leased'),
                    models.Index(condition=models.Q(('state', 'held')), fields=['webhook', '-id'], name='delivery_held'),
                    models.Index(condition=models.Q(('state', 'failed')), fields=['webhook', '-id'], name='delivery_failed_of_webhook'),
                    models.Index(condition=models.Q(('state__in', ('failed', 'held'))), fields=['state', '-id'], name='delivery_failed_or_held'),
                    models.Index(fields=['organization', '-id'], name='delivery_log'),
                    models.Index(fields=['webhook', '-id'], name='delivery_log_of_webhook'),
                ],
                'constraints': [
                    models.UniqueConstraint(fields=('event', 'webhook'), name='delivery_once_per_event_and_webhook'),
                    models.CheckConstraint(condition=models.Q(('state__in', ('pending', 'sending', 'delivered', 'failed', 'held', 'cancelled'))), name='delivery_state_known'),
                    models.CheckConstraint(condition=models.Q(models.Q(('lease__isnull', False), ('leased_at__isnull', False), ('leased_until__isnull', False), ('state', 'sending')), models.Q(models.Q(('state', 'sending'), _negated=True), ('lease', None), ('leased_at', None), ('leased_until', None)), _connector='OR'), name='delivery_leased_while_sending'),
                    models.CheckConstraint(condition=models.Q(models.Q(('state', 'pending'), _negated=True), ('due_at__isnull', False), _connector='OR'), name='delivery_due_while_pending'),
                    models.CheckConstraint(condition=models.Q(('readiness__in', (0, 1, 2))), name='delivery_readiness_known'),
                    models.CheckConstraint(condition=models.Q(models.Q(('state__in', ('delivered', 'failed', 'cancelled')), ('finish_reason__isnull', False), ('finished_at__isnull', False)), models.Q(models.Q(('state__in', ('delivered', 'failed', 'cancelled')), _negated=True), ('finish_reason', None), ('finished_at', None)), _connector='OR'), name='delivery_finished_with_reason'),
                    models.CheckConstraint(condition=models.Q(('failures__lte', models.F('attempts_made'))), name='delivery_failures_are_attempts'),
                ],
            },
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField()),
                ('started_at', models.DateTimeField()),
                ('duration', models.DurationField(null=True)),
                ('url', models.TextField()),
                ('request_headers', models.TextField()),
                ('outcome', models.CharField(choices=[('delivered', 'delivered'), ('failed', 'failed'), ('gone', 'gone'), ('no_response', 'no response'), ('unknown', 'outcome unknown')], max_length=20)),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('response_headers', models.TextField()),
                ('response_body', models.BinaryField()),
                ('error', models.TextField()),
                ('cause', models.CharField(max_length=30, null=True)),
                ('dns_us', models.IntegerField(null=True)),
                ('connect_us', models.IntegerField(null=True)),
                ('tls_us', models.IntegerField(null=True)),
                ('first_byte_us', models.IntegerField(null=True)),
                ('delivery', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='attempts', to='deliveries.delivery')),
                ('webhook', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.webhook')),
            ],
            options={
                'db_table': 'hookhub_attempt',
                'indexes': [
                    models.Index(fields=['webhook', '-id'], name='attempt_log_of_webhook'),
                ],
                'constraints': [
                    models.UniqueConstraint(fields=('delivery', 'number'), name='attempt_once_per_number'),
                    models.CheckConstraint(condition=models.Q(('number__gte', 1)), name='attempt_number_from_one'),
                    models.CheckConstraint(condition=models.Q(('outcome__in', ('delivered', 'failed', 'gone', 'no_response', 'unknown'))), name='attempt_outcome_known'),
                ],
            },
        ),
        migrations.CreateModel(
            name='HourlyStats',
            fields=[
                ('pk', models.CompositePrimaryKey('organization_id', 'webhook_id', 'hour', blank=True, editable=False, primary_key=True, serialize=False)),
                ('organization_id', models.BigIntegerField()),
                ('webhook_id', models.BigIntegerField()),
                ('hour', models.DateTimeField()),
                ('delivered', models.BigIntegerField()),
                ('redirects', models.BigIntegerField()),
                ('client_errors', models.BigIntegerField()),
                ('server_errors', models.BigIntegerField()),
                ('timeouts', models.BigIntegerField()),
                ('unreachable', models.BigIntegerField()),
                ('tls_errors', models.BigIntegerField()),
                ('blocked', models.BigIntegerField()),
                ('other', models.BigIntegerField()),
                ('latencies', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=None)),
            ],
            options={
                'verbose_name_plural': 'hourly stats',
                'db_table': 'hookhub_hourly_stats',
                'default_permissions': (),
                'indexes': [models.Index(fields=['hour'], name='hourly_stats_hour')],
            },
        ),
        migrations.CreateModel(
            name='StatsProgress',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('next_attempt', models.UUIDField()),
            ],
            options={
                'db_table': 'hookhub_stats_progress',
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='stats_progress_is_one_row')],
            },
        ),
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('recorded_at', models.DateTimeField()),
                ('action', models.CharField(max_length=60)),
                ('actor_kind', models.CharField(max_length=10)),
                ('actor_id', models.CharField(max_length=200)),
                ('actor_name', models.CharField(blank=True, max_length=200)),
                ('address', models.CharField(blank=True, max_length=200)),
                ('request_id', models.CharField(blank=True, max_length=200)),
                ('target_kind', models.CharField(max_length=40)),
                ('target_id', models.CharField(max_length=200)),
                ('target_label', models.CharField(max_length=200)),
                ('organization_slug', models.CharField(blank=True, max_length=100)),
                ('before', models.TextField(null=True)),
                ('after', models.TextField(null=True)),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='deliveries.organization')),
            ],
            options={
                'verbose_name': 'audit entry',
                'verbose_name_plural': 'audit log',
                'db_table': 'hookhub_audit_entry',
                'indexes': [models.Index(fields=['organization', '-id'], name='audit_of_organization'), models.Index(fields=['organization', 'action', '-id'], name='audit_of_org_by_action'), models.Index(fields=['action', '-id'], name='audit_by_action'), models.Index(fields=['actor_id', '-id'], name='audit_by_actor'), models.Index(fields=['target_id', '-id'], name='audit_by_target')],
            },
        ),
        migrations.CreateModel(
            name='PollConsumer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('position', models.BigIntegerField()),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('committed_at', models.DateTimeField(editable=False)),
                ('webhook', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='poll_consumers', to='deliveries.webhook')),
            ],
            options={
                'db_table': 'hookhub_poll_consumer',
                'constraints': [
                    models.UniqueConstraint(fields=('webhook', 'name'), name='poll_consumer_name_unique'),
                    models.CheckConstraint(condition=models.Q(('position__gte', 0)), name='poll_consumer_position_not_negative'),
                ],
            },
        ),
        migrations.CreateModel(
            name='PollEntry',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('position', models.BigIntegerField(null=True)),
                ('event', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='deliveries.event')),
                ('webhook', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='deliveries.webhook')),
            ],
            options={
                'db_table': 'hookhub_poll_entry',
                'indexes': [
                    models.Index(condition=models.Q(('position', None)), fields=['webhook', 'id'], name='poll_entry_unnumbered'),
                ],
                'constraints': [
                    models.UniqueConstraint(fields=('event', 'webhook'), name='poll_entry_once_per_event'),
                    models.UniqueConstraint(condition=models.Q(('position__isnull', False)), fields=('webhook', 'position'), name='poll_entry_position_unique'),
                    models.CheckConstraint(condition=models.Q(('position', None), ('position__gt', 0), _connector='OR'), name='poll_entry_position_positive'),
                ],
            },
        ),
        migrations.CreateModel(
            name='PollQueue',
            fields=[
                ('webhook', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='poll_queue', serialize=False, to='deliveries.webhook')),
                ('last_position', models.BigIntegerField(default=0)),
            ],
            options={
                'db_table': 'hookhub_poll_queue',
            },
        ),
        migrations.RunSQL(UUID7, "DROP FUNCTION hookhub_uuid7(timestamptz)"),
        migrations.RunSQL(TUNING, migrations.RunSQL.noop),
        migrations.RunSQL(APPEND_ONLY, NOT_APPEND_ONLY),
        migrations.RunPython(let_tests_empty_tables, migrations.RunPython.noop),
    ]

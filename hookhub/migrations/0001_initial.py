"""Create memberships, API keys, custom event types, sessions, replays and alerts, and notify web processes of changes."""

import deliveries.models.ids
import deliveries.plain_text
import django.contrib.postgres.fields
import django.db.models.deletion
import deliveries.timezone
from django.conf import settings
from django.db import migrations, models

# Only columns that decide whether a request is accepted: ``last_used_at`` is written once a minute.
ANNOUNCE = """
CREATE FUNCTION hookhub_announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_row jsonb := CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END;
BEGIN
    PERFORM pg_notify('hookhub_changes', TG_ARGV[0] || ':' || (coalesce(old_row, new_row) ->> TG_ARGV[1]));
    RETURN NULL;
END
$$;
CREATE TRIGGER announce_api_key_change
    AFTER DELETE OR UPDATE OF organization_id, scope, key_id, secret_hash, previous_secret_hash,
        previous_secret_expires_at, allowed_networks, expires_at, revoked_at
    ON hookhub_api_key FOR EACH ROW EXECUTE FUNCTION hookhub_announce_change('api_key', 'key_id');
CREATE TRIGGER announce_event_type_change AFTER INSERT OR UPDATE OR DELETE
    ON hookhub_custom_event_type FOR EACH ROW EXECUTE FUNCTION hookhub_announce_change('event_types', 'organization_id');
CREATE TRIGGER announce_organization_change AFTER UPDATE OR DELETE
    ON hookhub_organization FOR EACH ROW EXECUTE FUNCTION hookhub_announce_change('organization', 'id');
CREATE TRIGGER announce_repository_change AFTER DELETE OR UPDATE OF organization_id, name
    ON hookhub_repository FOR EACH ROW EXECUTE FUNCTION hookhub_announce_change('organization', 'organization_id');
"""

SILENCE = """
DROP TRIGGER announce_repository_change ON hookhub_repository;
DROP TRIGGER announce_organization_change ON hookhub_organization;
DROP TRIGGER announce_event_type_change ON hookhub_custom_event_type;
DROP TRIGGER announce_api_key_change ON hookhub_api_key;
DROP FUNCTION hookhub_announce_change();
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('deliveries', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(blank=True, max_length=200, validators=[deliveries.plain_text.validate])),
                ('scope', models.CharField(choices=[('master', 'full access, including API keys'), ('manage', 'manage webhooks, publish and read events'), ('publish', 'publish events only'), ('read', 'read only')], default='publish', max_length=10)),
                ('key_id', models.CharField(editable=False, max_length=16, unique=True, verbose_name='key ID')),
                ('secret_hash', models.BinaryField()),
                ('previous_secret_hash', models.BinaryField(null=True)),
                ('previous_secret_expires_at', models.DateTimeField(editable=False, null=True)),
                ('allowed_networks', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=50), blank=True, db_default=[], default=list, size=None)),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('rolled_at', models.DateTimeField(editable=False, null=True)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('expiry_warned_at', models.DateTimeField(editable=False, null=True)),
                ('expiry_mail_leased_until', models.DateTimeField(editable=False, null=True)),
                ('last_used_at', models.DateTimeField(editable=False, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('organization', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='deliveries.organization')),
            ],
            options={
                'verbose_name': 'API key',
                'db_table': 'hookhub_api_key',
                'indexes': [models.Index(condition=models.Q(('revoked_at', None)), fields=['organization'], name='api_key_in_use'), models.Index(condition=models.Q(('expires_at__isnull', False), ('expiry_warned_at', None), ('revoked_at', None)), fields=['expires_at'], name='api_key_to_warn_of')],
            },
        ),
        migrations.CreateModel(
            name='CustomEventType',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('type', models.CharField(max_length=200)),
                ('description', models.CharField(blank=True, max_length=500)),
                ('schema', models.TextField(blank=True, null=True)),
                ('example', models.TextField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('changed_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='event_types', to='deliveries.organization')),
            ],
            options={
                'verbose_name': 'custom event type',
                'db_table': 'hookhub_custom_event_type',
                'constraints': [models.UniqueConstraint(fields=('organization', 'type'), name='event_type_once')],
            },
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('manager', 'Manager'), ('reader', 'Reader')], default='owner', max_length=10)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='deliveries.organization')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'organization'), name='membership_once')],
            },
        ),
        migrations.CreateModel(
            name='Replay',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('redelivery', 'Redelivery'), ('missing', 'Missing')], default='redelivery', max_length=10)),
                ('asked', models.JSONField()),
                ('selection', models.JSONField()),
                ('state', models.CharField(choices=[('running', 'Running'), ('finished', 'Finished'), ('cancelled', 'Cancelled')], default='running', max_length=10)),
                ('cancel_reason', models.CharField(choices=[('requested', 'on request'), ('webhook_deleted', 'its webhook was deleted'), ('webhook_disabled', 'its webhook was disabled'), ('webhook_unverified', 'its webhook is unverified'), ('webhook_ended', 'the lease of its webhook has ended')], max_length=20, null=True)),
                ('total', models.PositiveIntegerField()),
                ('total_is_at_least', models.BooleanField(default=False)),
                ('examined', models.PositiveIntegerField(default=0)),
                ('redelivered', models.PositiveIntegerField(default=0)),
                ('done_upto', models.UUIDField(null=True)),
                ('upto', models.UUIDField()),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('touched_at', models.DateTimeField(default=deliveries.timezone.now)),
                ('finished_at', models.DateTimeField(null=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='replays', to='deliveries.organization')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('state', 'running')), fields=['touched_at'], name='replay_running')],
            },
        ),
        migrations.CreateModel(
            name='PortalSession',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('webhooks', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), null=True, size=None)),
                ('role', models.CharField(choices=[('read', 'look only'), ('manage', 'look and change')], max_length=10)),
                ('theme', models.CharField(choices=[('auto', 'as the system'), ('light', 'Light'), ('dark', 'Dark')], default='auto', max_length=10)),
                ('locale', models.CharField(choices=[('en', 'English'), ('de', 'Deutsch')], max_length=10, null=True)),
                ('time_zone', models.CharField(max_length=64, null=True)),
                ('return_url', models.TextField(blank=True)),
                ('token_hash', models.BinaryField(null=True, unique=True)),
                ('token_expires_at', models.DateTimeField()),
                ('cookie_hash', models.BinaryField(null=True, unique=True)),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('opened_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(null=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='portal_sessions', to='deliveries.organization')),
                ('repository', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='deliveries.repository')),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'hookhub_portal_session',
                'default_permissions': (),
                'indexes': [models.Index(fields=['organization', '-id'], name='portal_session_of_organization'), models.Index(fields=['expires_at'], name='portal_session_ended')],
                'constraints': [models.CheckConstraint(condition=models.Q(('repository', None), ('webhooks', None), _connector='OR'), name='portal_session_has_one_scope')],
            },
        ),
        migrations.CreateModel(
            name='AlertChannel',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('type', models.CharField(choices=[('email', 'e-mail'), ('slack', 'Slack'), ('teams', 'Microsoft Teams'), ('webhook', 'webhook')], max_length=10)),
                ('kinds', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), size=None)),
                ('from_percent', models.PositiveSmallIntegerField(default=50)),
                ('recipients', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=254), blank=True, default=list, size=None)),
                ('stored_url', models.CharField(blank=True, max_length=2048, verbose_name='URL')),
                ('sealed_url', models.BinaryField(null=True)),
                ('sealed_secret', models.BinaryField(null=True)),
                ('paused_at', models.DateTimeField(editable=False, null=True)),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('changed_at', models.DateTimeField(default=deliveries.timezone.now, editable=False)),
                ('due_at', models.DateTimeField(editable=False, null=True)),
                ('last_sent_at', models.DateTimeField(editable=False, null=True)),
                ('failing_since', models.DateTimeField(editable=False, null=True)),
                ('last_error', models.CharField(blank=True, editable=False, max_length=500)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='alert_channels', to='deliveries.organization')),
                ('repository', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='deliveries.repository')),
            ],
            options={
                'verbose_name': 'alert channel',
                'db_table': 'hookhub_alert_channel',
                'indexes': [
                    models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='alert_channel_due'),
                ],
            },
        ),
        migrations.CreateModel(
            name='Alert',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('channel_type', models.CharField(max_length=10)),
                ('channel_name', models.CharField(max_length=200)),
                ('kind', models.CharField(choices=[('failing', 'a webhook keeps failing'), ('disabled', 'a webhook was disabled'), ('recovered', 'a webhook works again'), ('lease_ending', 'a webhook ends soon'), ('test', 'a test')], max_length=20)),
                ('percent', models.PositiveSmallIntegerField(null=True)),
                ('about', models.DateTimeField(null=True)),
                ('details', models.JSONField(default=dict)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('sent', 'Sent'), ('failed', 'Failed'), ('superseded', 'Superseded')], default='pending', max_length=10)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('due_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(default=deliveries.timezone.now)),
                ('finished_at', models.DateTimeField(null=True)),
                ('error', models.CharField(blank=True, max_length=500)),
                ('organization', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='alerts', to='deliveries.organization')),
                ('webhook', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.webhook')),
                ('channel', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='alerts', to='hookhub.alertchannel')),
            ],
            options={
                'db_table': 'hookhub_alert',
                'default_permissions': ('view',),
                'indexes': [
                    models.Index(fields=['organization', '-id'], name='alert_of_organization'),
                    models.Index(fields=['webhook', '-id'], name='alert_of_webhook'),
                    models.Index(fields=['channel', '-id'], name='alert_of_channel'),
                    models.Index(condition=models.Q(('state', 'pending')), fields=['channel', 'id'], name='alert_pending'),
                    models.Index(condition=models.Q(('channel', None), ('state', 'pending')), fields=['due_at'], name='alert_to_owners'),
                ],
                'constraints': [
                    models.UniqueConstraint(condition=models.Q(('webhook__isnull', False)), fields=('webhook', 'channel', 'kind', 'percent', 'about'), name='alert_once', nulls_distinct=False),
                    models.CheckConstraint(condition=models.Q(models.Q(('finished_at', None), ('state', 'pending')), models.Q(models.Q(('state', 'pending'), _negated=True), ('due_at', None), ('finished_at__isnull', False)), _connector='OR'), name='alert_finished'),
                ],
            },
        ),
        migrations.CreateModel(
            name='PortalSettings',
            fields=[
                ('organization', models.OneToOneField(editable=False, on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='portal_settings', serialize=False, to='deliveries.organization')),
                ('product_name', models.CharField(blank=True, max_length=80)),
                ('accent_color', models.CharField(blank=True, max_length=7)),
                ('logo', models.TextField(blank=True)),
                ('embed_origins', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=255), blank=True, default=list, size=None)),
            ],
            options={
                'db_table': 'hookhub_portal_settings',
                'default_permissions': (),
            },
        ),
        migrations.RunSQL(ANNOUNCE, SILENCE),
    ]

"""Create the tables of organizations, repositories, webhooks, events, deliveries and attempts."""

import deliveries.formats
import deliveries.models
import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Organization',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.CharField(max_length=100, unique=True, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9._-]{1,100}\\Z', 'Use 1 to 100 letters, digits, dots, hyphens and underscores.')])),
                ('name', models.CharField(blank=True, max_length=200)),
                ('default_format', models.CharField(choices=deliveries.formats.choices, default='standard-webhooks', max_length=40)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name='Repository',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, validators=[django.core.validators.RegexValidator('^[A-Za-z0-9._-]{1,100}\\Z', 'Use 1 to 100 letters, digits, dots, hyphens and underscores.')])),
                ('private', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='repositories', to='deliveries.organization')),
            ],
            options={
                'verbose_name_plural': 'repositories',
            },
        ),
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uid', models.UUIDField(default=deliveries.models.new_id, editable=False, unique=True)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('url', models.CharField(max_length=2048)),
                ('events', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), size=None)),
                ('format', models.CharField(choices=deliveries.formats.choices, max_length=40)),
                ('content_type', models.CharField(default='json', max_length=10)),
                ('sealed_secrets', models.BinaryField()),
                ('sealed_headers', models.BinaryField(null=True)),
                ('verify_ssl', models.BooleanField(default=True)),
                ('retry_schedule', django.contrib.postgres.fields.ArrayField(base_field=models.DurationField(), blank=True, null=True, size=None)),
                ('timeout', models.DurationField(blank=True, null=True)),
                ('max_in_flight', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('auto_disable', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('changed_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('deleted_at', models.DateTimeField(editable=False, null=True)),
                ('disabled_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('enabled_at', models.DateTimeField(editable=False, null=True)),
                ('disabled_reason', models.CharField(choices=[('by_owner', 'by its owner'), ('failing', 'every attempt of a full retry schedule failed'), ('too_many_failures', 'too many consecutive failed attempts'), ('gone', 'the receiver is gone')], editable=False, max_length=20, null=True)),
                ('owner_told_at', models.DateTimeField(editable=False, null=True)),
                ('failure_count', models.PositiveIntegerField(default=0, editable=False)),
                ('timeouts_in_a_row', models.PositiveIntegerField(default=0, editable=False)),
                ('last_delivery_at', models.DateTimeField(editable=False, null=True)),
                ('last_delivery_status', models.CharField(editable=False, max_length=20, null=True)),
                ('last_success_at', models.DateTimeField(editable=False, null=True)),
                ('resting_until', models.DateTimeField(editable=False, null=True)),
                ('releasing_since', models.DateTimeField(editable=False, null=True)),
                ('review_since', models.DateTimeField(editable=False, null=True)),
                ('gone_at', models.DateTimeField(editable=False, null=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='webhooks', to='deliveries.organization')),
                ('repository', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='webhooks', to='deliveries.repository')),
            ],
        ),
        migrations.CreateModel(
            name='Event',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.new_id, editable=False, primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=200)),
                ('topics', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), size=None)),
                ('payload', models.BinaryField()),
                ('idempotency_key', models.CharField(max_length=255, null=True)),
                ('fingerprint', models.BinaryField(null=True)),
                ('occurred_at', models.DateTimeField()),
                ('accepted_at', models.DateTimeField()),
                ('fanned_out_at', models.DateTimeField(null=True)),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.organization')),
                ('repository', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.repository')),
                ('webhook', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.webhook')),
            ],
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.new_id, editable=False, primary_key=True, serialize=False)),
                ('event_type', models.CharField(max_length=200)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('sending', 'Sending'), ('delivered', 'Delivered'), ('failed', 'Failed'), ('held', 'Held'), ('cancelled', 'Cancelled')], default='pending', max_length=10)),
                ('ending', models.CharField(choices=[('delivered', 'delivered'), ('exhausted', 'retry schedule exhausted'), ('gone', 'the receiver is gone'), ('poisonous', 'poison message: its workers kept dying'), ('cancelled', 'cancelled')], max_length=10, null=True)),
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
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('finished_at', models.DateTimeField(null=True)),
                ('event', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='deliveries', to='deliveries.event')),
                ('organization', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.organization')),
                ('repository', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.repository')),
                ('webhook', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='deliveries', to='deliveries.webhook')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
            },
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.new_id, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField()),
                ('started_at', models.DateTimeField()),
                ('duration', models.DurationField(null=True)),
                ('url', models.TextField()),
                ('request_headers', models.TextField()),
                ('outcome', models.CharField(choices=[('delivered', 'delivered'), ('refused', 'failed'), ('gone', 'gone'), ('lost', 'no response'), ('unknown', 'outcome unknown')], max_length=10)),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('response_headers', models.TextField()),
                ('response_body', models.BinaryField()),
                ('error', models.TextField()),
                ('delivery', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='attempts', to='deliveries.delivery')),
                ('webhook', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='deliveries.webhook')),
            ],
        ),
        migrations.AddConstraint(
            model_name='repository',
            constraint=models.UniqueConstraint(fields=('organization', 'name'), name='repository_name_unique'),
        ),
        migrations.AddIndex(
            model_name='webhook',
            index=models.Index(condition=models.Q(('deleted_at', None)), fields=['organization', 'repository'], name='webhook_scope'),
        ),
        migrations.AddIndex(
            model_name='webhook',
            index=models.Index(condition=models.Q(('review_since__isnull', False), ('gone_at__isnull', False), _connector='OR'), fields=['id'], name='webhook_to_review'),
        ),
        migrations.AddIndex(
            model_name='webhook',
            index=models.Index(condition=models.Q(('releasing_since__isnull', False)), fields=['id'], name='webhook_to_release'),
        ),
        migrations.AddIndex(
            model_name='webhook',
            index=models.Index(condition=models.Q(('disabled_at__isnull', False), ('owner_told_at', None)), fields=['id'], name='webhook_to_tell'),
        ),
        migrations.AddConstraint(
            model_name='webhook',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('disabled_at', None), ('disabled_reason', None)), models.Q(('disabled_at__isnull', False), ('disabled_reason__isnull', False)), _connector='OR'), name='webhook_disabled_with_reason'),
        ),
        migrations.AddConstraint(
            model_name='webhook',
            constraint=models.CheckConstraint(condition=models.Q(('events__len__gt', 0)), name='webhook_events_not_empty'),
        ),
        migrations.AddConstraint(
            model_name='webhook',
            constraint=models.CheckConstraint(condition=models.Q(('max_in_flight', None), ('max_in_flight__gt', 0), _connector='OR'), name='webhook_max_in_flight_positive'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(condition=models.Q(('fanned_out_at', None)), fields=['id'], name='event_to_fan_out'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(fields=['organization', '-id'], name='event_log'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.UniqueConstraint(fields=('organization', 'idempotency_key'), name='event_idempotency_key_unique'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.CheckConstraint(condition=models.Q(('idempotency_key', None), ('fingerprint__isnull', False), _connector='OR'), name='event_key_with_fingerprint'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['webhook', 'due_at', 'id'], name='delivery_due'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['due_at'], name='delivery_next_due'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'sending')), fields=['webhook', 'leased_until'], name='delivery_leased'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', 'held')), fields=['webhook', '-id'], name='delivery_held'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state__in', ('failed', 'held'))), fields=['state', '-id'], name='delivery_trouble'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['organization', '-id'], name='delivery_log'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['webhook', '-id'], name='delivery_log_of_webhook'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(fields=('event', 'webhook'), name='delivery_once_per_event_and_webhook'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ('pending', 'sending', 'delivered', 'failed', 'held', 'cancelled'))), name='delivery_state_known'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('lease__isnull', False), ('leased_at__isnull', False), ('leased_until__isnull', False), ('state', 'sending')), models.Q(models.Q(('state', 'sending'), _negated=True), ('lease', None), ('leased_at', None), ('leased_until', None)), _connector='OR'), name='delivery_leased_while_sending'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'pending'), _negated=True), ('due_at__isnull', False), _connector='OR'), name='delivery_due_while_pending'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ending__isnull', False), ('finished_at__isnull', False), ('state__in', ('delivered', 'failed', 'cancelled'))), models.Q(models.Q(('state__in', ('delivered', 'failed', 'cancelled')), _negated=True), ('ending', None), ('finished_at', None)), _connector='OR'), name='delivery_finished_with_ending'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(('failures__lte', models.F('attempts_made'))), name='delivery_failures_are_attempts'),
        ),
        migrations.AddIndex(
            model_name='attempt',
            index=models.Index(fields=['webhook', '-id'], name='attempt_log_of_webhook'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.UniqueConstraint(fields=('delivery', 'number'), name='attempt_once_per_number'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.CheckConstraint(condition=models.Q(('number__gte', 1)), name='attempt_number_from_one'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.CheckConstraint(condition=models.Q(('outcome__in', ('delivered', 'refused', 'gone', 'lost', 'unknown'))), name='attempt_outcome_known'),
        ),
    ]

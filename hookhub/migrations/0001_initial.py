"""Create memberships, API keys and replays."""

import deliveries.models
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


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
                ('name', models.CharField(blank=True, max_length=200)),
                ('scope', models.CharField(choices=[('master', 'full access, including API keys'), ('manage', 'manage webhooks, publish and read events'), ('publish', 'publish events only'), ('read', 'read only')], default='publish', max_length=10)),
                ('key_id', models.CharField(editable=False, max_length=16, unique=True, verbose_name='key ID')),
                ('secret_hash', models.BinaryField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('last_used_at', models.DateTimeField(editable=False, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('organization', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='deliveries.organization')),
            ],
            options={
                'verbose_name': 'API key',
                'indexes': [models.Index(condition=models.Q(('revoked_at', None)), fields=['organization'], name='api_key_in_use')],
            },
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('manager', 'Manager'), ('reader', 'Reader')], default='owner', max_length=10)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='deliveries.organization')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'organization'), name='membership_once')],
            },
        ),
        migrations.CreateModel(
            name='Replay',
            fields=[
                ('id', models.UUIDField(default=deliveries.models.new_id, editable=False, primary_key=True, serialize=False)),
                ('asked', models.JSONField()),
                ('selection', models.JSONField()),
                ('state', models.CharField(choices=[('running', 'Running'), ('finished', 'Finished'), ('cancelled', 'Cancelled')], default='running', max_length=10)),
                ('total', models.PositiveIntegerField()),
                ('examined', models.PositiveIntegerField(default=0)),
                ('redelivered', models.PositiveIntegerField(default=0)),
                ('done_upto', models.UUIDField(null=True)),
                ('upto', models.UUIDField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('touched_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('finished_at', models.DateTimeField(null=True)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='replays', to='deliveries.organization')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('state', 'running')), fields=['touched_at'], name='replay_running')],
            },
        ),
    ]

"""Data left by earlier versions or interrupted upgrades is erased, or the migration is repeated."""

from datetime import datetime
from importlib import import_module
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from deliveries.formats import MASK
from deliveries.models import Webhook
from tests.story import Forge

CHAT = "/services/T0/B0/s3cret"


@pytest.mark.django_db
def test_the_url_of_a_webhook_that_an_earlier_version_deleted_is_wiped_by_reencrypt_secrets(
    forge: Forge, now: datetime
) -> None:
    url = forge.receiver.url(CHAT)
    deleted = [forge.webhook(now=now, path=f"{CHAT}{number}", format="slack").pk for number in range(3)]
    kept = forge.webhook(now=now, path=CHAT, format="slack")
    for number, pk in enumerate(deleted):
        Webhook.objects.filter(pk=pk).update(deleted_at=now, stored_url=f"{url}{number}", sealed_url=None)

    call_command("reencrypt_secrets", stdout=StringIO())

    found = Webhook.objects.filter(pk__in=deleted)
    assert {(row.stored_url, row.sealed_url) for row in found} == {(forge.receiver.url(f"/{MASK}"), None)}
    assert Webhook.objects.get(pk=kept.pk).url == url


@pytest.mark.django_db(transaction=True)
def test_an_interrupted_migration_to_limits_is_run_again_to_its_end() -> None:
    migration = import_module("deliveries.migrations.0012_limits").Migration("0012_limits", "deliveries")
    state = MigrationLoader(connection).project_state(("deliveries", "0011_create_repositories"))
    with connection.cursor() as cursor:
        # As if interrupted between its statements: the index exists, but may be invalid.
        cursor.execute("ALTER TABLE deliveries_organization DROP COLUMN limits")
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'webhook_host'::regclass")

    with connection.schema_editor(atomic=False) as editor:
        migration.apply(state, editor)

    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'webhook_host'::regclass")
        assert cursor.fetchall() == [(True,)]
        cursor.execute("SELECT limits FROM deliveries_organization")

"""The migrations are complete, run from an empty database, and can be reversed."""

from collections.abc import Iterator
from io import StringIO

import psycopg
import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, connections
from pytest_django import DjangoDbBlocker

SCRATCH = "scratch"


@pytest.fixture
def scratch(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """Yield the alias of a database without any table."""
    name = f"{connection.settings_dict['NAME']}_scratch"
    with django_db_blocker.unblock():
        parameters = connection.get_connection_params()
        parameters.pop("cursor_factory", None)
        parameters.pop("context", None)
        parameters.pop("prepare_threshold", None)
        server = psycopg.connect(**parameters, autocommit=True)
        server.execute(f'DROP DATABASE IF EXISTS "{name}"')
        server.execute(f'CREATE DATABASE "{name}"')
        connections.databases[SCRATCH] = {**connection.settings_dict, "NAME": name}
        try:
            yield SCRATCH
        finally:
            connections[SCRATCH].close()
            del connections[SCRATCH]
            del connections.databases[SCRATCH]
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            server.close()


def made_by_us(alias: str) -> set[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relname ~ '^(deliveries|hookhub)_' AND relkind IN ('r', 'S')"
            " UNION SELECT proname FROM pg_proc WHERE proname ~ '^deliveries_'"
        )
        return {name for (name,) in cursor.fetchall()}


def test_the_models_have_no_change_that_no_migration_knows_of(db: None) -> None:
    call_command("makemigrations", check=True, dry_run=True, stdout=StringIO())


def test_from_nothing_to_the_last_and_back_to_nothing_and_there_again(scratch: str) -> None:
    call_command("migrate", database=scratch, verbosity=0)
    there = made_by_us(scratch)
    assert {
        "deliveries_event",
        "deliveries_delivery",
        "deliveries_attempt",
        "deliveries_uuid7",
        "hookhub_replay",
    } <= there

    call_command("migrate", "deliveries", "zero", database=scratch, verbosity=0)
    assert made_by_us(scratch) == set()

    call_command("migrate", database=scratch, verbosity=0)
    assert made_by_us(scratch) == there
    call_command("migrate", database=scratch, verbosity=0, check_unapplied=True)


def test_events_that_wait_for_their_fan_out_go_on_waiting_through_the_migrations(scratch: str) -> None:
    call_command("migrate", "deliveries", "0004_retention", database=scratch, verbosity=0)
    with connections[scratch].cursor() as cursor:
        cursor.execute(
            "INSERT INTO deliveries_event (id, organization_id, repository_id, type, topics, payload, occurred_at,"
            "                              accepted_at, fanned_out_at)"
            " SELECT gen_random_uuid(), 7, repository_id, 'push', '{push}', '', '2026-03-04Z', '2026-03-04Z', done_at"
            " FROM (VALUES (3, NULL), (NULL, NULL), (3, '2026-03-05Z'::timestamptz)) AS of (repository_id, done_at)"
        )
        call_command("migrate", "deliveries", "0005_arrivals", database=scratch, verbosity=0)
        cursor.execute("SELECT source FROM deliveries_arrival ORDER BY source")
        assert cursor.fetchall() == [(-7,), (3,)]

        call_command("migrate", "deliveries", "0004_retention", database=scratch, verbosity=0)
        cursor.execute("SELECT count(*) FILTER (WHERE fanned_out_at IS NULL), count(*) FROM deliveries_event")
        assert cursor.fetchall() == [(2, 3)]


def test_names_that_differ_in_case_only_are_kept_through_the_migrations_and_no_more_of_them_are_taken(
    scratch: str,
) -> None:
    call_command("migrate", "deliveries", "0015_one_line_names", database=scratch, verbosity=0)
    with connections[scratch].cursor() as cursor:
        cursor.execute(
            "INSERT INTO deliveries_organization (id, slug, name, default_dialect, created_at)"
            " SELECT id, slug, '', 'native', '2026-03-04Z' FROM (VALUES (1, 'acme'), (2, 'ACME'), (3, 'Other'))"
            " AS of (id, slug)"
        )
        cursor.execute(
            "INSERT INTO deliveries_repository (organization_id, name, private, created_at)"
            " SELECT organization, name, true, '2026-03-04Z' FROM (VALUES (1, 'Widgets'), (1, 'widgets'),"
            " (1, 'WIDGETS'), (2, 'widgets'), (1, 'gadgets')) AS of (organization, name)"
        )
        call_command("migrate", "deliveries", "0016_no_names_that_differ_in_case_only", database=scratch, verbosity=0)

        cursor.execute("SELECT slug, kept_slug FROM deliveries_organization ORDER BY id")
        assert cursor.fetchall() == [("acme", None), ("ACME", "ACME"), ("Other", None)]
        cursor.execute("SELECT name, kept_name FROM deliveries_repository ORDER BY id")
        assert cursor.fetchall() == [
            ("Widgets", None), ("widgets", "widgets"), ("WIDGETS", "WIDGETS"), ("widgets", None), ("gadgets", None),
        ]  # fmt: skip
        # As the previous version writes rows, without the new columns.
        for name in ("wIDGETS", "GADGETS"):
            with pytest.raises(IntegrityError):
                cursor.execute(
                    "INSERT INTO deliveries_repository (organization_id, name, private, created_at)"
                    " VALUES (1, %s, true, '2026-03-04Z')",
                    [name],
                )
        cursor.execute("UPDATE deliveries_repository SET private = false WHERE name = 'WIDGETS'")
        with pytest.raises(IntegrityError):
            cursor.execute("UPDATE deliveries_repository SET name = 'WiDgEtS' WHERE name = 'WIDGETS'")
        call_command("migrate", "deliveries", "0015_one_line_names", database=scratch, verbosity=0)

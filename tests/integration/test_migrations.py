"""The migrations are complete, run from an empty database, and can be reversed."""

import threading
from collections.abc import Iterator
from importlib import import_module
from io import StringIO

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.commands import migrate
from django.db import connection, connections
from django.db.migrations import AddConstraint, AddField, AddIndex
from pytest_django import DjangoDbBlocker

from hookhub.service.management.commands.migrate import LOCK, alone
from testbed.processes import wait_for

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
            "SELECT relname FROM pg_class WHERE relname ~ '^hookhub_' AND relkind IN ('r', 'S')"
            " UNION SELECT proname FROM pg_proc WHERE proname ~ '^hookhub_'"
        )
        return {name for (name,) in cursor.fetchall()}


def test_the_models_have_no_change_that_no_migration_knows_of(db: None) -> None:
    call_command("makemigrations", check=True, dry_run=True, stdout=StringIO())


def test_from_nothing_to_the_last_and_back_to_nothing_and_there_again(scratch: str) -> None:
    call_command("migrate", database=scratch, verbosity=0)
    there = made_by_us(scratch)
    assert {
        "hookhub_event",
        "hookhub_delivery",
        "hookhub_attempt",
        "hookhub_uuid7",
        "hookhub_replay",
    } <= there

    call_command("migrate", "deliveries", "zero", database=scratch, verbosity=0)
    assert made_by_us(scratch) == set()

    call_command("migrate", database=scratch, verbosity=0)
    assert made_by_us(scratch) == there
    call_command("migrate", database=scratch, verbosity=0, check_unapplied=True)


@pytest.mark.parametrize("app", ["deliveries", "hookhub"])
def test_what_belongs_to_a_new_table_is_created_with_it(app: str) -> None:
    # Django renders all related models anew for each further operation, so that the migration took three times as long.
    initial = import_module(f"{app}.migrations.0001_initial").Migration

    later = [each for each in initial.operations if isinstance(each, AddConstraint | AddField | AddIndex)]

    assert later == []


def test_two_commands_at_once_take_turns(scratch: str) -> None:
    def run() -> None:
        try:
            call_command("migrate", database=scratch, verbosity=0)
        finally:
            connections[scratch].close()

    def is_waiting() -> bool:
        with connections[scratch].cursor() as cursor:
            cursor.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted", [LOCK])
            return cursor.fetchone() is not None

    other = threading.Thread(target=run)
    with alone(scratch):
        other.start()
        wait_for(is_waiting, "the other one to wait")
        before = made_by_us(scratch)
    other.join()

    assert (before, "hookhub_event" in made_by_us(scratch)) == (set(), True)


@pytest.mark.django_db(transaction=True)
def test_a_statement_may_take_longer_than_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def timeout() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            return str(cursor.fetchone()[0])

    seen = []
    monkeypatch.setattr(migrate.Command, "handle", lambda *_, **__: seen.append(timeout()))

    call_command("migrate")

    assert seen == ["0"]
    assert timeout() == "30s"

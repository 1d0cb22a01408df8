"""A HookHub with a web server and a worker, on servers that start with a prepared database."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from io import StringIO
from pathlib import Path

import psutil
import psycopg
from django.core.management import CommandError, call_command
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.errors import DeadlockDetected

from hookhub.service.connections import database
from testbed.instance import Instance
from testbed.processes import wait_for
from testbed.servers import Servers
from tests.prepared import prepared_home

# All tables, except for what the instance was prepared with, and the workers.
EMPTY = """
SET LOCAL session_replication_role = replica;
DO $$
BEGIN
    EXECUTE (
        SELECT 'TRUNCATE ' || string_agg(quote_ident(tablename), ', ') FROM pg_tables
        WHERE starts_with(tablename, 'hookhub_')
          AND tablename NOT IN ('hookhub_organization', 'hookhub_api_key', 'hookhub_worker')
    );
END $$;
NOTIFY hookhub_changes, 'everything';
"""


class CheckedHere(Instance):
    """Runs ``check_ledger`` in this process, because to start another one takes longer than the check."""

    def check_ledger(self, *options: str) -> None:
        """Run it when everything has settled; raise AssertionError with the report when it finds a violation."""
        check_ledger(self.database_url, *options)


def check_ledger(database_url: str, *options: str) -> None:
    """Run the command on a database; raise AssertionError with the report when it finds a violation."""
    out = StringIO()
    try:
        with connected_to(database_url):
            call_command("check_ledger", "--settling", "0", *options, stdout=out, no_color=True)
    except CommandError as error:
        raise AssertionError(out.getvalue()) from error
    assert "All invariants hold." in out.getvalue()


@contextmanager
def connected_to(url: str) -> Iterator[None]:
    """Let Django use another database in this thread."""
    ordinary = connections[DEFAULT_DB_ALIAS]
    other = ordinary.copy()
    other.settings_dict |= database(url, statement_timeout=30_000)
    # pytest-django forbids connections to tests that do not ask for its database, which this is not.
    other.ensure_connection = lambda: None
    other.connect()
    connections[DEFAULT_DB_ALIAS] = other
    try:
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = ordinary
        other.close()


@contextmanager
def idle_instance(**settings: str) -> Iterator[Instance]:
    """Provide a HookHub of which only the servers run; ``as_new`` starts the rest."""
    with (
        prepared_home("hookhub-test-", with_key=True) as home,
        Servers(home) as running,
        closing(CheckedHere(running, logs=home, WEB_WORKERS="1", **settings)) as instance,
    ):
        yield instance


@contextmanager
def running_instance(*, asgi: str = "hookhub.service.asgi", **settings: str) -> Iterator[Instance]:
    """Run a HookHub; ``asgi`` is the module of its web server."""
    with idle_instance(**settings) as instance:
        instance.commands["web"] = instance.commands["web"].replace("hookhub.service.asgi", asgi)
        instance.start("web")
        instance.start("worker")
        instance.wait_until_ready()
        yield instance


def as_new(instance: Instance, *, worker: bool = True, **settings: str) -> Instance:
    """Undo what a test has done to an instance that the tests of a module share, because its start costs seconds.

    The web server and the worker are kept if they run with the same settings, unless there is to be no worker.
    """
    wanted = ("web", "worker") if worker else ("web",)
    for name in list(instance.running):
        runs = instance.running[name].poll() is None
        if name not in wanted or not runs or instance.extra_environment[name] != settings:
            instance.kill(name)
    instance.extra_environment = dict.fromkeys(wanted, settings)
    instance.disconnect()
    instance.servers.revive()
    instance.servers.flush_redis()
    empty(instance.database_url)
    for log in instance.logs.glob("w*.log"):
        os.truncate(log, 0)
    for name in wanted:
        if name not in instance.running:
            instance.start(name)
    instance.wait_until_ready()
    return instance


def empty(database_url: str) -> None:
    """Delete what a test has stored; again if a worker took the same locks in another order."""
    while True:
        with suppress(DeadlockDetected), psycopg.connect(database_url) as connection:
            connection.execute(EMPTY)
            return


def halted_at(point: str, failpoints: Path) -> psutil.Process:
    """Return the process that has halted at a failpoint, once there is one."""
    wait_for(lambda: any(failpoints.glob(f"{point}.*")), f"a process to reach {point}")
    [taken] = failpoints.glob(f"{point}.*")
    process = psutil.Process(int(taken.suffix[1:]))
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED, f"a process to halt at {point}")
    return process

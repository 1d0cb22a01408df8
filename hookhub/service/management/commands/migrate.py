"""``manage.py migrate``: Django's command, one at a time on a database."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from django.core.management.commands import migrate
from django.db import connections

# An arbitrary number, the same in every process of a deployment.
LOCK = 7_305_666


class Command(migrate.Command):
    """Wait for another one that is running, such as that of a second host, which would create the same tables."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate while no other process does."""
        with alone(options["database"]), unhurried(options["database"]):
            super().handle(*args, **options)


@contextmanager
def alone(database: str) -> Iterator[None]:
    """Hold a lock in a database, on a connection of its own, in a transaction: poolers keep nothing beyond one."""
    with closing(connections[database].copy()) as connection:
        connection.set_autocommit(False)
        with connection.cursor() as cursor:
            for timeout in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                cursor.execute(f"SET LOCAL {timeout} = 0")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        yield


@contextmanager
def unhurried(database: str) -> Iterator[None]:
    """Let statements take any time: on a large table, an index takes longer than any statement of the queue may.

    If the command is killed, the server ends its statement.
    """
    connection = connections[database]
    session = connection.settings_dict["SESSION"]
    # Behind a pooler, they are set in each transaction.
    connection.close()
    any_time = {"statement_timeout": "0", "client_connection_check_interval": "5s"}
    connection.settings_dict["SESSION"] = {**session, **any_time}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["SESSION"] = session

"""Creates thousands of rows as copies of one real row, with some columns replaced.

A column unknown to these statements keeps the value that the engine wrote.
"""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from deliveries import vault
from testbed.instance import Instance

Connection = psycopg.Connection[tuple[Any, ...]]


def columns_of(connection: Connection, table: str) -> list[str]:
    """Return the names of a table's columns, in order."""
    asked = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    return [str(name) for (name,) in connection.execute(f"{asked} ORDER BY attnum".encode(), [table])]


def copy_statement(
    connection: Connection, table: str, *, one: str, source: str, replaced: Mapping[str, str], returning: str = ""
) -> str:
    """Return a statement that inserts a copy of one row for each row of ``source``.

    ``one`` is the condition that finds the row. ``replaced`` maps columns to expressions over ``source``; DEFAULT
    leaves a column to its default.
    """
    own = {name: replaced.get(name, f"sample.{name}") for name in columns_of(connection, table)}
    if unknown := replaced.keys() - own.keys():
        raise ValueError(f"{table} has no column {', '.join(sorted(unknown))}")
    kept = {name: expression for name, expression in own.items() if expression != "DEFAULT"}
    return (
        f"INSERT INTO {table} ({', '.join(kept)}) SELECT {', '.join(kept.values())} "
        f"FROM {source} CROSS JOIN (SELECT * FROM {table} WHERE {one} LIMIT 1) AS sample{returning}"
    )


def copy_webhooks(instance: Instance, count: int, *, first: int = 0, **replaced: str) -> None:
    """Copy the newest webhook ``count`` times; ``replaced`` has expressions over ``n``, which counts from ``first``.

    Each copy gets a URL that ends with its number, and its own secret, because a secret can only be decrypted for its
    own row.
    """
    newest = "id = (SELECT max(id) FROM hookhub_webhook)"
    own = {
        "id": "DEFAULT",
        "uid": "hookhub_uuid7(clock_timestamp())",
        # Events from before do not belong to it.
        "created_at": "clock_timestamp()",
        "changed_at": "clock_timestamp()",
        "url": "regexp_replace(sample.url, '/[0-9]+$', '') || '/' || n",
        **replaced,
    }
    source = f"generate_series({first}, {first + count - 1}) AS n"
    with psycopg.connect(instance.database_url, autocommit=True) as connection:
        statement = copy_statement(
            connection, "hookhub_webhook", one=newest, source=source, replaced=own, returning=" RETURNING id, uid"
        )
        rows = connection.execute(statement.encode()).fetchall()
        _replace_secrets(connection, rows, key=instance.environment["HOOKHUB_ENCRYPTION_KEYS"])


def _replace_secrets(connection: Connection, rows: Sequence[tuple[Any, ...]], *, key: str) -> None:
    """Store a separate secret for each webhook.

    A worker caches decrypted secrets, and would decrypt a shared one only once.
    """
    sealed = []
    for _, uid in rows:
        content = json.dumps([["whsec_" + base64.b64encode(os.urandom(32)).decode(), None]])
        sealed.append(vault.encrypt(content.encode(), vault.context_of(vault.SECRETS, uid), key))
    connection.execute(
        "UPDATE hookhub_webhook w SET sealed_secrets = own.sealed"
        " FROM unnest(%s::bigint[], %s::bytea[]) AS own (id, sealed) WHERE w.id = own.id",
        [[webhook_id for webhook_id, _ in rows], sealed],
    )
    connection.execute("VACUUM (ANALYZE) hookhub_webhook")

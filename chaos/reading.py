"""Reads the three histories: the publishers' logs, the receiver's log, and the database."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from chaos.history import Arrival, Attempted, Hook, Owed, Published
from chaos.scenarios.scenario import Part


def read_journal(lines: Iterable[str]) -> list[Published]:
    """Parse the publishers' log; an event without a second line was in progress when its publisher ended."""
    begun: dict[str, dict[str, Any]] = {}
    for line in lines:
        told = json.loads(line)
        begun.setdefault(told["key"], {}).update(told)
    return [
        Published(
            key=told["key"],
            type=told["type"],
            sha=told["sha"],
            door=told["door"],
            at=told["at"],
            said=told.get("said", "unknown"),
            said_at=told.get("said_at", told["at"]),
        )
        for told in begun.values()
    ]


def read_log(lines: Iterable[str]) -> list[Arrival]:
    """Parse the receiver's log, in order of arrival."""
    wanted = Arrival._fields
    return [Arrival(**{name: told[name] for name in wanted}) for told in map(json.loads, lines)]


def lines_of(path: Path) -> list[str]:
    """Return a file's lines; none when the file does not exist."""
    return path.read_text().splitlines() if path.exists() else []


def complete_lines_of(path: Path) -> list[str]:
    """Return the lines of a file that another process may be writing, without a line that is not yet complete."""
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []


def read_stored(connection: "psycopg.Connection[Any]") -> dict[str, float]:
    """Return when the database accepted each event, by idempotency key."""
    rows = connection.execute(
        "SELECT idempotency_key, extract(epoch FROM accepted_at)::float8 FROM deliveries_event"
        " WHERE idempotency_key IS NOT NULL"
    )
    return dict(rows.fetchall())


def read_owed(connection: "psycopg.Connection[Any]") -> list[Owed]:
    """Return all deliveries."""
    rows = connection.execute(
        "SELECT d.id::text, e.idempotency_key, w.url, d.state, d.ending, d.attempts_made,"
        " num_nonnulls(d.lease, d.leased_at, d.leased_until) > 0"
        " FROM deliveries_delivery d JOIN deliveries_event e ON e.id = d.event_id"
        " JOIN deliveries_webhook w ON w.id = d.webhook_id ORDER BY d.id"
    ).fetchall()
    return [Owed(row[0], row[1] or "", urlsplit(row[2]).path, *row[3:]) for row in rows]


def read_attempts(connection: "psycopg.Connection[Any]") -> list[Attempted]:
    """Return all attempts, ordered by delivery and number."""
    rows = connection.execute(
        "SELECT delivery_id::text, number, extract(epoch FROM started_at)::float8,"
        " extract(epoch FROM started_at + duration)::float8, outcome, status"
        " FROM deliveries_attempt ORDER BY delivery_id, number"
    )
    return [Attempted(*row) for row in rows.fetchall()]


def read_hooks(connection: "psycopg.Connection[Any]", parts: Sequence[Part], *, timeout: float) -> list[Hook]:
    """Return the webhooks as the scenario created them, and when they were disabled."""
    rows = connection.execute("SELECT url, extract(epoch FROM disabled_at)::float8 FROM deliveries_webhook").fetchall()
    disabled_at = {urlsplit(url).path: at for url, at in rows}
    return [
        Hook(part.path, part.topics, part.schedule, timeout, part.is_healthy, disabled_at.get(part.path), part.disables)
        for part in parts
    ]

"""Writes a long history into a HookHub with SQL within a minute, as if it had been used for years.

`manage.py check_ledger` finds no violation in it.
"""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import psycopg

from bench.row_copies import Connection, columns_of, copy_statement, copy_webhooks
from deliveries.policy.latencies import BUCKETS
from testbed.instance import Instance
from testbed.processes import Log
from testbed.servers import ORGANIZATION

# As in load.make_webhooks: four webhooks per repository, each for its own event type.
PER_REPOSITORY = 4
# Deliveries per statement; progress is printed after each.
AT_ONCE = 50_000
# Concurrent statements, one for each core of the machine that this is sized for.
WRITERS = 2
# Within the retention period; otherwise maintenance would delete rows while something is measured.
OLDEST, NEWEST = timedelta(days=20), timedelta(days=1)
# Disk space for one delivery with its event, its attempt, all their index entries, and the WAL.
BYTES_EACH = 3_000

# An event's id contains the time of its acceptance, and the ids of its deliveries begin with the same bytes.
DELIVERY_ID = (
    "encode(substring(uuid_send(made.id) FOR 8) || substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid"
)


@dataclass(frozen=True)
class Era:
    """A part of the history: which real delivery its rows are copies of, and in what they differ."""

    name: str
    # The condition on hookhub_delivery that finds the real delivery.
    one: str
    oldest: timedelta
    newest: timedelta
    # Types and topics of its events as expressions over ``crowd``, and how many webhooks each event reaches.
    event_type: str
    topics: str
    fan_out: int
    reached: str
    # Column values of its deliveries, as expressions over ``made``.
    deliveries: dict[str, str]


# Each event went to one webhook, which accepted it at once.
FINISHED = Era(
    name="finished deliveries",
    one="state = 'delivered'",
    oldest=OLDEST,
    newest=NEWEST,
    event_type="crowd.type",
    topics="ARRAY['*', crowd.type, 'push']",
    fan_out=1,
    reached="made JOIN crowd USING (repository_id, type)",
    deliveries={"finished_at": "made.accepted_at + interval '20 milliseconds'"},
)
# Each event went to the four webhooks of a repository, failed once, and is due again in hours.
RETRIES = Era(
    name="scheduled retries",
    one="state = 'pending' AND attempts_made = 1 AND due_at > now() + interval '1 hour'",
    oldest=timedelta(hours=3),
    newest=timedelta(hours=1),
    event_type="'sweep'",
    topics="ARRAY['*', 'sweep']",
    fan_out=PER_REPOSITORY,
    reached="made JOIN crowd USING (repository_id)",
    deliveries={"due_at": "clock_timestamp() + interval '2 hours' + random() * interval '4 hours'"},
)


@contextmanager
def connected(instance: Instance) -> Iterator[Connection]:
    """Connect for bulk writing without synchronous commits; losing the data in a crash does not matter here."""
    with psycopg.connect(instance.database_url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        yield connection


def check_space(instance: Instance, deliveries: int) -> None:
    """Raise RuntimeError if this many deliveries would not fit on the disk."""
    free, needed = shutil.disk_usage(instance.logs).free, deliveries * BYTES_EACH
    if free < needed:
        raise RuntimeError(
            f"{deliveries:,} deliveries need {needed / 1e9:.1f} GB in {instance.logs}, which has {free / 1e9:.1f} GB; "
            "set TMPDIR to a directory on a larger disk, or BENCH_ROWS to a smaller number"
        )


def add_crowd(instance: Instance, webhooks: int, *, per_repository: int = PER_REPOSITORY) -> None:
    """Add copies of the newest webhook, ``per_repository`` to a repository, each for its own event type in it."""
    with connected(instance) as connection:
        connection.execute(
            "CREATE TABLE bench_repository AS WITH made AS ("
            " INSERT INTO hookhub_repository (organization_id, name, private, created_at)"
            " SELECT o.id, 'crowd-' || n, true, clock_timestamp()"
            " FROM hookhub_organization o, generate_series(0, %s) AS n WHERE o.slug = %s RETURNING id, name"
            ") SELECT id, substr(name, 7)::int AS place FROM made",
            [webhooks // per_repository - 1, ORGANIZATION],
        )
        copy_webhooks(
            instance,
            webhooks,
            name="'crowd-' || n",
            repository_id=f"(SELECT id FROM bench_repository WHERE place = n / {per_repository})",
            events=f"ARRAY['push.' || n % {per_repository}, 'sweep']",
        )
        connection.execute(
            "CREATE TABLE crowd AS SELECT substr(name, 7)::int AS place, id AS webhook_id, repository_id,"
            " events[1]::text AS type FROM hookhub_webhook WHERE name LIKE 'crowd-%'"
        )
        connection.execute("ANALYZE crowd")


def write_era(instance: Instance, era: Era, *, deliveries: int, webhooks: int, log: Log) -> None:
    """Write an era of ``deliveries`` deliveries, spread over the webhooks of ``crowd``."""
    now = datetime.now(UTC)
    events = deliveries // era.fan_out
    step = (era.oldest - era.newest) / events
    moment = f"'{now - era.oldest}'::timestamptz + n * interval '{step.total_seconds()} seconds'"
    with connected(instance) as connection:
        found = connection.execute(f"SELECT id, event_id FROM hookhub_delivery WHERE {era.one} LIMIT 1".encode())
        one = found.fetchone()
        if one is None:
            raise RuntimeError(f"no delivery to copy for the {era.name}: none has {era.one}")
        starts = range(0, events, AT_ONCE // era.fan_out)
        spans = [(start, min(start + starts.step, events) - 1) for start in starts]
        write_span = partial(era_statement, connection, era, one=one, moment=moment, webhooks=webhooks)
        statements = [write_span(span=span) for span in spans]

    def write(statement: str) -> None:
        with connected(instance) as connection:
            connection.execute(statement.encode())

    with ThreadPoolExecutor(WRITERS) as pool:
        for (_, last), _ in zip(spans, pool.map(write, statements), strict=True):
            log(f"  {(last + 1) * era.fan_out:,} of {deliveries:,} {era.name}")


def era_statement(
    connection: Connection, era: Era, *, one: tuple[UUID, UUID], span: tuple[int, int], moment: str, webhooks: int
) -> str:
    """Return a statement that writes the events of a range of numbers, their deliveries and their attempts.

    ``one`` has the ids of the delivery that all are copies of and of its event; ``moment`` is an expression for the
    time of event ``n``.
    """
    of_events = {
        "id": "hookhub_uuid7(at)",
        "repository_id": "crowd.repository_id",
        "type": era.event_type,
        "topics": era.topics,
        "payload": '\'{"t":0,"ref":"refs/heads/main"}\'::bytea',
        "idempotency_key": "gen_random_uuid()::text",
        "fingerprint": "sha256(n::text::bytea)",
        "occurred_at": "at",
        "accepted_at": "at",
    }
    of_deliveries = {
        "id": DELIVERY_ID,
        "event_id": "made.id",
        "webhook_id": "crowd.webhook_id",
        "repository_id": "made.repository_id",
        "event_type": "made.type",
        "first_attempt_at": "made.accepted_at",
        "created_at": "made.accepted_at",
        **era.deliveries,
    }
    of_attempts = {
        "id": "hookhub_uuid7(inserted.first_attempt_at)",
        "delivery_id": "inserted.id",
        "webhook_id": "inserted.webhook_id",
        "started_at": "inserted.first_attempt_at",
    }
    times = f"(SELECT n, {moment} AS at FROM generate_series({span[0]}, {span[1]}) AS n) AS times"
    source = f"{times} JOIN crowd ON crowd.place = n * {era.fan_out} % {webhooks}"
    events = copy_statement(connection, "hookhub_event", one=f"id = '{one[1]}'", source=source, replaced=of_events)
    deliveries = copy_statement(
        connection, "hookhub_delivery", one=f"id = '{one[0]}'", source=era.reached, replaced=of_deliveries
    )
    attempts = copy_statement(
        connection, "hookhub_attempt", one=f"delivery_id = '{one[0]}'", source="inserted", replaced=of_attempts
    )
    return (
        f"WITH made AS ({events} RETURNING id, repository_id, type, accepted_at),"
        f" inserted AS ({deliveries} RETURNING id, webhook_id, first_attempt_at) {attempts}"
    )


def count_hours(instance: Instance) -> None:
    """Count the attempts of each hour as maintenance does, as if the last of them had ended in this one.

    The latencies are spread over all buckets.
    """
    values = {
        "organization_id": "coalesce(organization_id, 0)",
        "webhook_id": "coalesce(a.webhook_id, -repository_id, 0)",
        "hour": "hour + (date_trunc('hour', now()) - max(max(hour)) OVER ())",
        "delivered": "count(*)",
        "latencies": f"array_fill((count(*) / {BUCKETS} + 1)::int, ARRAY[{BUCKETS}])",
    }
    with connected(instance) as connection:
        names = columns_of(connection, "hookhub_hourly_stats")
        connection.execute("DELETE FROM hookhub_hourly_stats")
        connection.execute(
            f"INSERT INTO hookhub_hourly_stats ({', '.join(names)})"
            f" SELECT {', '.join(values.get(name, '0') for name in names)}"
            " FROM (SELECT webhook_id, date_trunc('hour', started_at) AS hour FROM hookhub_attempt) AS a"
            " JOIN hookhub_webhook w ON w.id = a.webhook_id"
            " GROUP BY GROUPING SETS ((organization_id, a.webhook_id, hour), (organization_id, repository_id, hour),"
            " (organization_id, hour), (hour))"
            # A webhook may be of no repository.
            " HAVING grouping(repository_id) = 1 OR repository_id IS NOT NULL".encode()
        )
        connection.execute(
            "INSERT INTO hookhub_stats_progress (id, next_attempt) VALUES (1, hookhub_uuid7(now()))"
            " ON CONFLICT (id) DO UPDATE SET next_attempt = excluded.next_attempt"
        )


def vacuum(instance: Instance) -> None:
    """Vacuum, analyze and checkpoint, so that the server does not do it during a measurement.

    Of a new database, the server has no statistics before the first minute is over.
    """
    with connected(instance) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")

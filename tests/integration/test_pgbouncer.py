"""Through a real PgBouncer in transaction mode, whose sessions change between transactions."""

import asyncio
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from psycopg.conninfo import conninfo_to_dict
from pytest_django import Settings

from deliveries.db import sql
from deliveries.models import Organization
from hookhub import cache_invalidation
from hookhub.postgresql.asynchronous import AsyncConnection
from testbed import pgbouncer
from testbed.processes import free_port, wait_for
from tests import pgbouncer as programs
from tests.printed import blocks_below

pytestmark = pytest.mark.django_db(transaction=True)

LIMITS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "plan_cache_mode": "force_generic_plan",
}
SHOW = " UNION ALL ".join(f"SELECT '{name}', current_setting('{name}')" for name in LIMITS)
WHO = "SELECT pg_backend_pid(), %(number)s::bigint"


PREPARED = {"prepared": 100, "unprepared": 0, "of any version": None}


@pytest.fixture(scope="module", params=PREPARED)
def pooler(request: pytest.FixtureRequest, django_db_setup: None) -> Iterator[tuple[str, str]]:
    """Yield a pooler's address, and what it does with prepared statements."""
    kind: str = request.param
    program = programs.program() if kind == "of any version" else programs.program_with_prepared()
    url = f"postgresql://postgres@/{connection.settings_dict['NAME']}?host={connection.settings_dict['HOST']}&port=5432"
    with pgbouncer.running(url, program=program, prepared=PREPARED[kind]) as through:
        yield through, kind


@pytest.fixture
def through(pooler: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Connect Django through the pooler, and yield its address."""
    url, _ = pooler
    parts = conninfo_to_dict(url)
    for name, part in (("HOST", "host"), ("PORT", "port"), ("NAME", "dbname"), ("USER", "user")):
        monkeypatch.setitem(connection.settings_dict, name, parts[part])
    connection.close()
    yield url
    connection.close()


@contextmanager
def other_sessions(url: str, *, occupied: int) -> Iterator[None]:
    """Keep as many of the pooler's sessions busy, the last used ones first."""
    with ExitStack() as stack:
        for _ in range(occupied):
            client = stack.enter_context(psycopg.connect(url, autocommit=True, prepare_threshold=None))
            stack.enter_context(client.transaction())
            client.execute("SELECT 1")
        yield


def settings_of(url: str) -> dict[str, str]:
    """Return what another client finds set in the session that was used last."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as client:
        return dict(client.execute(SHOW.encode()).fetchall())


def test_every_transaction_has_the_limits_and_no_other_client_gets_them(through: str) -> None:
    for occupied in (0, 1, 2):
        with other_sessions(through, occupied=occupied):
            assert dict(sql.run(SHOW, {})) == LIMITS
            assert not LIMITS.items() & settings_of(through).items()
            with sql.transaction():
                sql.run("SELECT 1", {})
                assert dict(sql.run(SHOW, {}, commits=True)) == LIMITS
            with transaction.atomic():
                assert dict(sql.run(SHOW, {})) == LIMITS
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(SHOW)
                assert dict(cursor.fetchall()) == LIMITS
            assert not LIMITS.items() & settings_of(through).items()


def test_a_limit_of_a_transaction_of_its_own_is_kept(through: str) -> None:
    with sql.transaction():
        sql.run("SET LOCAL statement_timeout = 0", {})
        assert dict(sql.run(SHOW, {})) == {**LIMITS, "statement_timeout": "0"}


def test_statements_run_on_whichever_session_there_is(through: str, pooler: tuple[str, str]) -> None:
    seen = set()
    for number in range(12):
        with other_sessions(through, occupied=number % 3):
            [(pid, found)] = sql.run(WHO, {"number": number})
            with sql.transaction():
                sql.run(WHO, {"number": number})
                sql.run(WHO, {"number": number}, commits=True)
        assert found == number
        seen.add(pid)

    assert len(seen) == 3
    is_prepared = connection.connection.prepare_threshold is not None
    assert pooler[1] == "of any version" or is_prepared == (pooler[1] == "prepared")


def test_rows_come_ahead_of_a_commit_that_the_end_of_the_block_waits_for(through: str) -> None:
    seen = set()
    for number in range(12):
        with other_sessions(through, occupied=number % 3):
            with sql.transaction():
                assert dict(sql.run(SHOW, {})) == LIMITS
                [(pid, found)] = sql.run(WHO, {"number": number}, commits=True, is_commit_awaited=False)
            with sql.transaction():
                sql.run(WHO, {"number": number})
                sql.commit_ahead()
        assert found == number
        seen.add(pid)

    assert len(seen) == 3


def test_nothing_is_left_on_the_server_of_how_it_was_found_out(through: str) -> None:
    sql.run("SELECT 1", {})

    with other_sessions(through, occupied=0), psycopg.connect(through, autocommit=True) as client:
        names = client.execute("SELECT name FROM pg_prepared_statements", prepare=False).fetchall()

    assert not [name for (name,) in names if name.startswith("probe_")]


def test_an_event_loops_connection_does_the_same(through: str, pooler: tuple[str, str]) -> None:
    async def story() -> set[int]:
        link, seen = AsyncConnection(), set()
        await link.ready()
        for number in range(12):
            with other_sessions(through, occupied=number % 3):
                assert dict(await link.run(SHOW, {})) == LIMITS
                async with link.transaction():
                    [(pid, found)] = await link.run(WHO, {"number": number})
                    assert dict(await link.run(SHOW, {})) == LIMITS
                assert found == number
                seen.add(pid)
        await link.close()
        return seen

    assert len(asyncio.run(story())) == 3
    assert not LIMITS.items() & settings_of(through).items()


def test_many_rows_are_read_outside_a_transaction_and_in_one(through: str) -> None:
    Organization.objects.bulk_create(Organization(slug=f"org-{number}") for number in range(250))

    outside = sum(1 for _ in Organization.objects.all().iterator(chunk_size=100))
    with transaction.atomic():
        inside = sum(1 for _ in Organization.objects.all().iterator(chunk_size=100))

    assert (outside, inside) == (250, 250)


def test_a_workers_preferences_stay_in_its_transactions(through: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sql.prefer_indexes()
    try:
        connection.close()
        assert sql.run("SHOW enable_seqscan", {}) == [("off",)]
        with psycopg.connect(through, autocommit=True, prepare_threshold=None) as client:
            assert client.execute("SHOW enable_seqscan").fetchone() == ("on",)
    finally:
        sql.connection_created.disconnect(dispatch_uid=sql.__name__)


@pytest.mark.parametrize("is_pooled", [True, False])
def test_the_operator_can_say_which_kind_of_pooler_it_is(
    through: str, monkeypatch: pytest.MonkeyPatch, *, is_pooled: bool
) -> None:
    monkeypatch.setitem(connection.settings_dict, "IS_POOLED", is_pooled)
    connection.ensure_connection()

    wrapper: Any = connection
    assert wrapper.is_pooled == is_pooled
    assert (wrapper.transaction_parameters is None) == (not is_pooled)
    if not is_pooled:
        # The session is this client's own, so the parameters are the session's.
        assert LIMITS.items() <= settings_of(through).items()
        connection.connection.execute("RESET ALL")


def test_changes_are_listened_for_past_the_pooler_or_not_at_all(through: str, settings: Settings) -> None:
    without = cache_invalidation.Listener()
    without.ensure_started()
    assert without._thread is not None
    without._thread.join(60)
    assert not without._thread.is_alive()

    parts = conninfo_to_dict(settings.DATABASE_URL) | {"dbname": connection.settings_dict["NAME"]}
    settings.HOOKHUB_DIRECT_DATABASE_URL = psycopg.conninfo.make_conninfo(**parts)
    past = cache_invalidation.Listener()
    past.ensure_started()
    assert past.is_listening.wait(60)
    past.stop()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that another user can reach, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="hookhub-pgbouncer-") as made:
        yield Path(made)


def test_the_printed_configuration_works(django_db_setup: None, folder: Path) -> None:
    printed, users, url = blocks_below("docs/deployment.md", "## PgBouncer")
    program, port, server = programs.program(), free_port(), connection.settings_dict
    # Older versions refuse to start because of it, as the page says.
    if programs.version_of(program) < programs.FIRST_WITH_PREPARED:
        printed, count = re.subn(r"^max_prepared_statements.*\n", "", printed, flags=re.MULTILINE)
        assert count == 1
    replaced = {
        "host=db.internal dbname=hookhub": f"host={server['HOST']} port=5432 user=postgres dbname={server['NAME']}",
        "6432": str(port),
        "/etc/pgbouncer/userlist.txt": f"{folder}/userlist.txt",
    }
    for text, here in replaced.items():
        assert text in printed
        printed = printed.replace(text, here)
    (folder / "userlist.txt").write_text(users)
    # Its socket would be in a folder that only root may write to.
    (folder / "pgbouncer.ini").write_text(f"{printed}unix_socket_dir =\n")
    name, _, address = url.strip().partition("=")

    address = address.replace("6432", str(port))
    process = pgbouncer.start(program, folder / "pgbouncer.ini", socket=Path(server["HOST"], ".s.PGSQL.5432"))
    try:
        wait_for(lambda: answers(address), "PgBouncer")
        with psycopg.connect(address, prepare_threshold=None) as client:
            assert client.execute("SELECT current_database()").fetchone() == (server["NAME"],)
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(address.replace("secret", "wrong"))
    finally:
        process.kill()
        process.wait()
    assert name == "DATABASE_URL"


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def test_without_a_pooler_nothing_is_sent_for_one() -> None:
    connection.ensure_connection()

    wrapper: Any = connection
    assert (wrapper.is_pooled, wrapper.transaction_parameters) == (False, None)
    assert sql.run("SELECT pg_backend_pid()", {}) == [(connection.connection.info.backend_pid,)]
    assert os.environ.get("HOOKHUB_PGBOUNCER") is None

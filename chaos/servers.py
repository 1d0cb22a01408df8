"""Faults of the servers: Redis and PostgreSQL killed, stopped, stalled, full, and forgetful."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg import sql

from bench.stage import wait_for
from chaos.ground import die
from chaos.processes import Fault, kill_worker, stop_worker
from chaos.scene import Scene

BACK_WITHIN_SECONDS = 60
# How often HookHub's connections are taken away until it has none.
ROUNDS = 20
# So short that no lease runs out for it.
READ_ONLY_SECONDS = 3.0

# Redis ---------------------------------------------------------------------------------------------------------------


def kill_redis(scene: Scene) -> None:
    """SIGKILL Redis, leave it dead for a while, and start it again, empty."""
    since = time.time()
    die(scene.ground.server("valkey"))
    # Until then it took entries.
    scene.forgotten_at.append(time.time())
    scene.wait(scene.chance.uniform(1, 4))
    scene.ground.revive()
    scene.note("Redis killed, and started again empty", since=since, kind="redis")


def flush_redis(scene: Scene) -> None:
    """FLUSHALL."""
    since = time.time()
    scene.ground.flush_redis()
    scene.forgotten_at.append(time.time())
    scene.note("FLUSHALL", since=since, kind="redis")


def stall_redis(seconds: float) -> Fault:
    """Make the fault that SIGSTOPs Redis for so long."""

    def fault(scene: Scene) -> None:
        since = time.time()
        valkey = scene.ground.server("valkey")
        valkey.suspend()
        scene.wait(seconds)
        valkey.resume()
        scene.note(f"Redis stalled for {seconds:g} s", since=since, kind="redis")

    return fault


def stop_worker_while_redis_hangs(scene: Scene) -> None:
    """SIGTERM a worker while Redis takes connections and answers nothing."""
    valkey = scene.ground.server("valkey")
    valkey.suspend()
    scene.wait(1)
    try:
        stop_worker(scene)
    finally:
        valkey.resume()


def fill_redis(scene: Scene) -> None:
    """Have Redis refuse every write for a while, as one out of memory does, and start a worker meanwhile."""
    since = time.time()
    with scene.ground.redis() as redis:
        redis.config_set("maxmemory", "1")
        try:
            scene.wait(2)
            kill_worker(scene)
            scene.wait(6)
        finally:
            redis.config_set("maxmemory", "0")
    scene.note("Redis out of memory for 8 s", since=since, kind="redis")


# PostgreSQL ----------------------------------------------------------------------------------------------------------


def stop_postgres(scene: Scene) -> None:
    """Stop PostgreSQL at once, as `pg_ctl stop -m immediate` does, and start it again."""
    since = time.time()
    postgres = scene.ground.server("postgres")
    postgres.send_signal(signal.SIGQUIT)
    psutil.wait_procs([postgres], timeout=BACK_WITHIN_SECONDS)
    scene.wait(scene.chance.uniform(0.5, 2))
    bring_back(scene)
    scene.note_outage("PostgreSQL stopped immediate, and started again", since=since)


def kill_postgres(scene: Scene) -> None:
    """SIGKILL PostgreSQL, every process of it, and start it again."""
    since = time.time()
    die(scene.ground.server("postgres"))
    bring_back(scene)
    scene.note_outage("PostgreSQL killed, and started again", since=since)


def stall_postgres(seconds: float) -> Fault:
    """Make the fault that SIGSTOPs every process of PostgreSQL for so long."""

    def fault(scene: Scene) -> None:
        since = time.time()
        postgres = scene.ground.server("postgres")
        family = [postgres, *postgres.children(recursive=True)]
        scene.is_at_the_database = True
        halted = scene.halt(family)
        scene.wait(seconds)
        for process in halted:
            with suppress(psutil.NoSuchProcess):
                process.resume()
        # Who waits for an answer of the database looks at no answer of a receiver, and may take it for late.
        scene.note_outage(f"PostgreSQL stalled for {seconds:g} s", since=since)
        scene.is_at_the_database = False

    return fault


def terminate_backends(scene: Scene) -> None:
    """Have PostgreSQL end every connection of HookHub's."""
    since = time.time()
    with psycopg.connect(scene.database_url, autocommit=True) as connection:
        connection.execute(TERMINATE)
    scene.note_outage("every connection to PostgreSQL terminated", since=since)


def kill_backend(scene: Scene) -> None:
    """SIGKILL one backend, upon which the whole cluster recovers as from a crash."""
    since = time.time()
    with psycopg.connect(scene.database_url, autocommit=True) as connection:
        pids = [pid for (pid,) in connection.execute(OTHERS).fetchall()]
    if pids:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(scene.chance.choice(pids)).kill()
        bring_back(scene)
    scene.note_outage("a backend of PostgreSQL killed", since=since)


def exhaust_connections(scene: Scene) -> None:
    """Take every connection that PostgreSQL has to give, for a while."""
    since = time.time()
    with crowd(scene):
        scene.wait(4)
    scene.note_outage("no connection to PostgreSQL to be had for 4 s", since=since)


def turn_read_only(scene: Scene) -> None:
    """Have PostgreSQL refuse every change on every connection, as one does whose disk is nearly full."""
    since = time.time()
    with psycopg.connect(scene.database_url, autocommit=True) as connection:
        try:
            connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            connection.execute(RELOAD)
            scene.wait(READ_ONLY_SECONDS)
        finally:
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute(RELOAD)
    scene.note_outage(f"PostgreSQL read-only for {READ_ONLY_SECONDS:g} s", since=since)


def fail_over(scene: Scene) -> None:
    """End every connection and give read-only ones for a while, as when a standby answers in the primary's name.

    Whoever keeps such a connection after that can never write again.
    """
    since = time.time()
    name = sql.Identifier(urlsplit(scene.database_url).path.removeprefix("/"))
    with psycopg.connect(scene.database_url, autocommit=True) as connection:
        try:
            connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
            connection.execute(TERMINATE)
            scene.wait(READ_ONLY_SECONDS)
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
    scene.note_outage(f"failed over to a standby, and back after {READ_ONLY_SECONDS:g} s", since=since)


@contextmanager
def crowd(scene: Scene) -> Iterator[None]:
    """Hold all connections there are, HookHub's own included."""
    with ExitStack() as stack:
        first = stack.enter_context(psycopg.connect(scene.database_url, autocommit=True))
        for _ in range(ROUNDS):
            with suppress(psycopg.OperationalError):
                while True:
                    stack.enter_context(psycopg.connect(scene.database_url))
            # Theirs come free, and have to be taken before they can have them back.
            if not first.execute(TERMINATE).fetchall():
                break
        yield


def kill_mid_fan_out(scene: Scene) -> None:
    """Kill the workers' children while the statement of a fan-out runs, held up by a lock."""
    with psycopg.connect(scene.database_url) as connection:
        # Nothing can be settled from here on either, so that what is answered meanwhile counts as in flight.
        since = time.time()
        connection.execute("LOCK TABLE deliveries_delivery IN SHARE ROW EXCLUSIVE MODE")
        with psycopg.connect(scene.database_url, autocommit=True) as watching, suppress(RuntimeError):
            wait_for(lambda: watching.execute(FANNING_OUT).fetchone(), "a fan-out", seconds=3)
        children = [child for name in scene.workers() for child in scene.crew.children_of(name)]
        scene.kill(children, what="every child killed in the middle of a fan-out", since=since)


TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'hookhub'
"""
RELOAD = "SELECT pg_reload_conf()"
OTHERS = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'hookhub'
"""
FANNING_OUT = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO deliveries_delivery%'
"""


def bring_back(scene: Scene) -> None:
    """Start PostgreSQL again if it is down, and wait until the web server has found it."""
    scene.ground.revive()
    wait_for(lambda: can_connect(scene.database_url), "PostgreSQL to recover", seconds=BACK_WITHIN_SECONDS)


def can_connect(url: str) -> bool:
    """Tell whether the database answers."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def revive(scene: Scene) -> None:
    """Start whatever server is down: the end of an absence from the start."""
    since = time.time()
    scene.ground.revive()
    scene.note("Redis there at last", since=since, kind="redis")


def lose_redis(scene: Scene) -> None:
    """Take Redis away before anything has seen it."""
    scene.forgotten_at.append(time.time())
    die(scene.ground.server("valkey"))

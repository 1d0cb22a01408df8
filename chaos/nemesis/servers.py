"""Faults of the servers: Redis and PostgreSQL killed, stopped, stalled, out of memory, flushed, or read-only."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg import sql

from chaos.nemesis.context import RunContext
from chaos.nemesis.processes import Fault, children_of_workers, kill_worker, stop_worker, wait_until_up
from testbed.processes import kill_all, wait_for, with_descendants

BACK_WITHIN_SECONDS = 60
# How often HookHub's connections are terminated until it has none.
ROUNDS = 20
# Too short for a lease to expire.
READ_ONLY_SECONDS = 3.0
FAN_OUT_WITHIN_SECONDS = 15
# Any number that HookHub does not use for advisory locks.
FAN_OUT_LOCK = 7_305_663

# Redis ---------------------------------------------------------------------------------------------------------------


def kill_redis(context: RunContext) -> None:
    """SIGKILL Redis, leave it down for a while, and restart it empty."""
    since = time.time()
    kill_all(with_descendants(context.instance.servers.process("valkey")))
    # Until then it accepted entries.
    context.forgotten_at.append(time.time())
    context.wait(context.rng.uniform(1, 4))
    context.instance.servers.revive()
    context.note("Redis killed, and restarted empty", since=since, kind="redis")


def flush_redis(context: RunContext) -> None:
    """Run FLUSHALL."""
    since = time.time()
    context.instance.servers.flush_redis()
    context.forgotten_at.append(time.time())
    context.note("FLUSHALL", since=since, kind="redis")


def stall_redis(seconds: float) -> Fault:
    """Return a fault that SIGSTOPs Redis for ``seconds``."""

    def fault(context: RunContext) -> None:
        since = time.time()
        valkey = context.instance.servers.process("valkey")
        valkey.suspend()
        context.wait(seconds)
        valkey.resume()
        context.note(f"Redis stalled for {seconds:g} s", since=since, kind="redis")

    return fault


def stop_worker_while_redis_hangs(context: RunContext) -> None:
    """SIGTERM a worker while Redis accepts connections and does not answer."""
    valkey = context.instance.servers.process("valkey")
    valkey.suspend()
    context.wait(1)
    try:
        stop_worker(context)
    finally:
        valkey.resume()


def fill_redis(context: RunContext) -> None:
    """Make Redis reject every write for a while as if it were out of memory, and start a worker meanwhile."""
    since = time.time()
    with context.instance.servers.redis() as redis:
        redis.config_set("maxmemory", "1")
        try:
            context.wait(2)
            kill_worker(context)
            context.wait(6)
        finally:
            redis.config_set("maxmemory", "0")
    context.note("Redis out of memory for 8 s", since=since, kind="redis")


# PostgreSQL ----------------------------------------------------------------------------------------------------------


def stop_postgres(context: RunContext) -> None:
    """Stop PostgreSQL as `pg_ctl stop -m immediate` does, and restart it."""
    since = time.time()
    postgres = context.instance.servers.process("postgres")
    postgres.send_signal(signal.SIGQUIT)
    psutil.wait_procs([postgres], timeout=BACK_WITHIN_SECONDS)
    context.wait(context.rng.uniform(0.5, 2))
    recover_postgres(context)
    context.note_outage("PostgreSQL stopped (immediate mode), and restarted", since=since)


def kill_postgres(context: RunContext) -> None:
    """SIGKILL all processes of PostgreSQL, and restart it."""
    since = time.time()
    kill_all(with_descendants(context.instance.servers.process("postgres")))
    recover_postgres(context)
    context.note_outage("PostgreSQL killed, and restarted", since=since)


def stall_postgres(seconds: float) -> Fault:
    """Return a fault that SIGSTOPs all processes of PostgreSQL for ``seconds``."""

    def fault(context: RunContext) -> None:
        since = time.time()
        postgres = context.instance.servers.process("postgres")
        context.is_stalling_postgres = True
        halted = context.halt(with_descendants(postgres))
        context.wait(seconds)
        for process in halted:
            with suppress(psutil.NoSuchProcess):
                process.resume()
        # A worker that waits for the database does not read responses, and may take them for late.
        context.note_outage(f"PostgreSQL stalled for {seconds:g} s", since=since)
        context.is_stalling_postgres = False

    return fault


def terminate_backends(context: RunContext) -> None:
    """Terminate all of HookHub's connections to PostgreSQL."""
    with psycopg.connect(context.instance.database_url, autocommit=True) as connection:
        wait_for_backends(connection)
        since = time.time()
        connection.execute(TERMINATE)
    context.note_outage("all connections to PostgreSQL terminated", since=since)


def kill_backend(context: RunContext) -> None:
    """SIGKILL one backend, so that the whole cluster goes through crash recovery."""
    with psycopg.connect(context.instance.database_url, autocommit=True) as connection:
        pids = wait_for_backends(connection)
        since = time.time()
        try:
            psutil.Process(context.rng.choice(pids)).kill()
        except psutil.NoSuchProcess:
            context.complaints.append("the PostgreSQL backend to be killed had already ended")
            return
        # Until it has noticed, the server still accepts connections, which it then ends like this one.
        wait_for(lambda: is_ended(connection), "PostgreSQL to notice", seconds=BACK_WITHIN_SECONDS)
    recover_postgres(context)
    context.note_outage("a PostgreSQL backend killed", since=since)


def exhaust_connections(context: RunContext) -> None:
    """Take all connections of PostgreSQL for a while."""
    since = time.time()
    with hold_connections(context):
        context.wait(4)
    context.note_outage("all PostgreSQL connections taken for 4 s", since=since)


def turn_read_only(context: RunContext) -> None:
    """Make PostgreSQL reject every write on every connection, as when its disk is nearly full."""
    since = time.time()
    with psycopg.connect(context.instance.database_url, autocommit=True) as connection:
        try:
            connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            connection.execute(RELOAD)
            context.wait(READ_ONLY_SECONDS)
        finally:
            connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
            connection.execute(RELOAD)
    context.note_outage(f"PostgreSQL read-only for {READ_ONLY_SECONDS:g} s", since=since)


def fail_over(context: RunContext) -> None:
    """Terminate all connections and accept only read-only ones for a while, as when a standby takes over.

    A process that keeps such a connection after that can never write again.
    """
    name = sql.Identifier(urlsplit(context.instance.database_url).path.removeprefix("/"))
    with psycopg.connect(context.instance.database_url, autocommit=True) as connection:
        wait_for_backends(connection)
        since = time.time()
        try:
            connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
            connection.execute(TERMINATE)
            context.wait(READ_ONLY_SECONDS)
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
    context.note_outage(f"failed over to a standby, and back after {READ_ONLY_SECONDS:g} s", since=since)


@contextmanager
def hold_connections(context: RunContext) -> Iterator[None]:
    """Hold all available connections, HookHub's own included."""
    with ExitStack() as stack:
        first = stack.enter_context(psycopg.connect(context.instance.database_url, autocommit=True))
        for _ in range(ROUNDS):
            with suppress(psycopg.OperationalError):
                while True:
                    stack.enter_context(psycopg.connect(context.instance.database_url))
            # Terminated connections become free, and must be taken before HookHub reconnects.
            if not first.execute(TERMINATE).fetchall():
                break
        yield


def kill_mid_fan_out(context: RunContext) -> None:
    """Kill the workers' children during a fan-out statement, which an advisory lock delays."""
    wait_until_up(context)
    with psycopg.connect(context.instance.database_url, autocommit=True) as connection:
        connection.execute(HAVE_FAN_OUTS_WAIT)
        connection.execute("SELECT pg_advisory_lock(%s)", [FAN_OUT_LOCK])
        try:
            wait_for(
                lambda: connection.execute(FANNING_OUT, [FAN_OUT_LOCK]).fetchone(),
                "a fan-out",
                seconds=FAN_OUT_WITHIN_SECONDS,
            )
        except RuntimeError as error:
            context.complaints.append(str(error))
            return
        context.kill(children_of_workers(context), what="all children of workers killed during a fan-out")


TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'hookhub'
"""
RELOAD = "SELECT pg_reload_conf()"
OTHERS = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'hookhub'
"""
# Only a fan-out inserts deliveries.
HAVE_FAN_OUTS_WAIT = f"""
CREATE OR REPLACE FUNCTION chaos_fan_out() RETURNS trigger LANGUAGE plpgsql AS
 'BEGIN PERFORM pg_advisory_xact_lock_shared({FAN_OUT_LOCK}); RETURN NULL; END';
CREATE OR REPLACE TRIGGER chaos_fan_out BEFORE INSERT ON hookhub_delivery
 FOR EACH STATEMENT EXECUTE FUNCTION chaos_fan_out()
""".encode()
FANNING_OUT = """
SELECT pid FROM pg_locks
WHERE locktype = 'advisory' AND objid = %s AND NOT granted
 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def wait_for_backends(connection: "psycopg.Connection[Any]") -> list[int]:
    """Return the backends of HookHub, at least one; raise RuntimeError when it does not reconnect."""
    pids: list[int] = []

    def find() -> bool:
        pids[:] = [pid for (pid,) in connection.execute(OTHERS).fetchall()]
        return bool(pids)

    wait_for(find, "HookHub to be connected", seconds=BACK_WITHIN_SECONDS)
    return pids


def recover_postgres(context: RunContext) -> None:
    """Restart PostgreSQL if it is down, and wait until it accepts connections."""
    context.instance.servers.revive()
    wait_for(lambda: can_connect(context.instance.database_url), "PostgreSQL to recover", seconds=BACK_WITHIN_SECONDS)


def is_ended(connection: "psycopg.Connection[Any]") -> bool:
    """Return whether the server has ended a connection."""
    try:
        connection.execute("SELECT")
    except psycopg.OperationalError:
        return True
    return False


def can_connect(url: str) -> bool:
    """Return whether the database accepts connections."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def revive(context: RunContext) -> None:
    """Start the servers that are down, after they were missing from the start."""
    since = time.time()
    # Missing since before anything was published.
    context.absences.append((context.forgotten_at[-1], since))
    context.instance.servers.revive()
    context.note("Redis started for the first time", since=since, kind="redis")


def lose_redis(context: RunContext) -> None:
    """Stop Redis before any process connects to it."""
    context.forgotten_at.append(time.time())
    kill_all(with_descendants(context.instance.servers.process("valkey")))

"""A HookHub with a web server and a worker, on servers that start with a prepared database."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import psycopg

from hookhub.embedded import servers
from hookhub.procfile import ROOT
from testbed.instance import Instance
from testbed.servers import Servers, temporary_home

# What a prepared home is made of.
SOURCES = ("config", "deliveries", "hookhub", "testbed")
# All tables with rows of a test.
EMPTY = """
SET LOCAL session_replication_role = replica;
TRUNCATE hookhub_attempt, hookhub_audit_entry, hookhub_delivery, hookhub_event, hookhub_hourly_stats, hookhub_outbox,
    hookhub_portal_session, hookhub_replay, hookhub_repository, hookhub_verification, hookhub_webhook;
NOTIFY hookhub_changes, 'everything';
"""


@contextmanager
def running_instance(*, asgi: str = "config.asgi", **settings: str) -> Iterator[Instance]:
    """Run a HookHub; ``asgi`` is the module of its web server."""
    with (
        prepared_home("hookhub-test-", with_key=True) as home,
        Servers(home) as running,
        closing(Instance(running, logs=home, WEB_WORKERS="1", **settings)) as instance,
    ):
        instance.commands["web"] = instance.commands["web"].replace("config.asgi", asgi)
        instance.start("web")
        instance.start("worker")
        instance.wait_until_ready()
        yield instance


def as_new(instance: Instance, *, worker: bool = True) -> Instance:
    """Undo what a test has done to an instance that the tests of a module share, because its start costs seconds.

    The web server is kept if it runs. The worker is a new one, or there is none.
    """
    for name in list(instance.running):
        if name != "web" or instance.running[name].poll() is not None:
            instance.kill(name)
    instance.extra_environment.clear()
    instance.disconnect()
    instance.servers.revive()
    instance.servers.flush_redis()
    with psycopg.connect(instance.database_url) as connection:
        connection.execute(EMPTY)
    for log in instance.logs.glob("w*.log"):
        os.truncate(log, 0)
    if worker:
        instance.start("worker")
    if "web" not in instance.running:
        instance.start("web")
    instance.wait_until_ready()
    return instance


@contextmanager
def prepared_home(prefix: str, *, with_key: bool = False) -> Iterator[Path]:
    """Provide a home whose database has all tables, and, with a key, what ``Servers`` finds in it."""
    with temporary_home(prefix, copied_from=prepared() / ("keyed" if with_key else "migrated")) as home:
        yield home


@cache
def prepared() -> Path:
    """Return the folder of the prepared homes, which one process of a run makes for all, and for the next runs.

    Making them starts a server and several programs.
    """
    folder = servers.home() / "prepared"
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    found = folder / _digest_of_sources()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            for older in folder.iterdir():
                if older.is_dir():
                    shutil.rmtree(older)
            making = folder / "unfinished"
            making.mkdir(mode=0o711)
            Servers(making / "migrated").prepare(with_key=False)
            subprocess.run(["cp", "-a", making / "migrated", making / "keyed"], check=True)
            Servers(making / "keyed").prepare()
            making.rename(found)
    return found


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for name in SOURCES for path in (ROOT / name).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

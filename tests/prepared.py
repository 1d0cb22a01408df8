"""Databases with all tables, which one process makes for all of a run, and for later runs of the same code."""

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from django.core.management import call_command
from django.db import connection

from hookhub.embedded import servers
from hookhub.procfile import ROOT
from testbed.servers import Servers, temporary_home

# What the databases are made with.
SOURCES = ("config", "deliveries", "hookhub", "testbed")
TEMPLATE = "hookhub_template_"


def template_database() -> str:
    """Return the name of a database with all tables, on the server of Django's connection."""
    name, unfinished, own = TEMPLATE + digest_of_sources(), f"{TEMPLATE}unfinished", connection.settings_dict["NAME"]
    with _alone("template"), connection._nodb_cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [TEMPLATE])
        there = {row[0] for row in cursor.fetchall()}
        if name not in there:
            for older in there:
                cursor.execute(f"DROP DATABASE {older}")
            cursor.execute(f"CREATE DATABASE {unfinished}")
            connection.close()
            connection.settings_dict["NAME"] = unfinished
            try:
                call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
            finally:
                connection.close()
                connection.settings_dict["NAME"] = own
            cursor.execute(f"ALTER DATABASE {unfinished} RENAME TO {name}")
    return name


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
    found = _folder() / digest_of_sources()
    with _alone("homes"):
        if not found.exists():
            for older in _folder().iterdir():
                if older.is_dir():
                    shutil.rmtree(older)
            making = _folder() / "unfinished"
            making.mkdir(mode=0o711)
            Servers(making / "migrated").prepare(with_key=False)
            subprocess.run(["cp", "-a", making / "migrated", making / "keyed"], check=True)
            Servers(making / "keyed").prepare()
            making.rename(found)
    return found


@cache
def digest_of_sources() -> str:
    """Return a name for the code that databases are made with."""
    digest = hashlib.sha256()
    for path in sorted(path for name in SOURCES for path in (ROOT / name).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _folder() -> Path:
    folder = servers.home() / "prepared"
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone(what: str) -> Iterator[None]:
    """Let no other process of a run make the same."""
    with (_folder() / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

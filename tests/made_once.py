"""What one process of a run makes for all, and for later runs of the same code: here a database with all tables."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from django.core.management import call_command
from django.db import connection

from hookhub.embedded import servers
from hookhub.procfile import ROOT

# What the databases are made with.
SOURCES = ("deliveries", "hookhub", "testbed")
TEMPLATE = "hookhub_template_"


def template_database() -> str:
    """Return the name of a database with all tables, on the server of Django's connection."""
    name, unfinished, own = TEMPLATE + digest_of_sources(), f"{TEMPLATE}unfinished", connection.settings_dict["NAME"]
    with alone("template"), connection._nodb_cursor() as cursor:
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


@cache
def digest_of_sources() -> str:
    """Return a name for the code that databases are made with."""
    digest = hashlib.sha256()
    for path in sorted(path for name in SOURCES for path in (ROOT / name).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def folder() -> Path:
    """Return where files of this kind are."""
    found = servers.home() / "prepared"
    found.mkdir(mode=0o711, parents=True, exist_ok=True)
    return found


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Let no other process of a run make the same."""
    with (folder() / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

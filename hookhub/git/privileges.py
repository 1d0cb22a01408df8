"""Drops root's privileges in another user's repository, whose owner may have put symbolic links into it."""

from __future__ import annotations

import codecs
import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def drop_privileges(directory: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Switch a root process permanently to a directory's owner; return the environment for its child processes."""
    owner = directory.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return environment
    # Python imports this codec on the first connection, and the owner may be unable to read root's Python.
    codecs.lookup("idna")
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
    return environment_of(owner.st_uid, environment)


@contextmanager
def dropped_privileges(directory: Path) -> Iterator[None]:
    """Run the body of a ``with`` statement with the privileges of a directory's owner, if the process is root's."""
    owner = directory.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def environment_of(uid: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which git reads the configuration of user ``uid``; root's would be unreadable."""
    own = {name: value for name, value in environment.items() if name not in ("HOME", "XDG_CONFIG_HOME")}
    try:
        own["HOME"] = pwd.getpwuid(uid).pw_dir
    except KeyError:
        own["HOME"] = "/nonexistent"
    return own

"""Root works in another user's repository as that user: its owner decides what is in it, links included."""

from __future__ import annotations

import codecs
import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def become_owner_of(directory: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Give up root's rights for those of a directory's owner, and return the environment for what is started then."""
    owner = directory.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return environment
    # Python loads this with the first connection, and root's Python may be where that user cannot read.
    codecs.lookup("idna")
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
    return environment_of(owner.st_uid, environment)


@contextmanager
def acting_as_owner_of(directory: Path) -> Iterator[None]:
    """Have the owner's rights for a while, when root would have its own."""
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
    """Return an environment in which git reads that user's configuration, and not root's, which it may not read."""
    own = {name: value for name, value in environment.items() if name not in ("HOME", "XDG_CONFIG_HOME")}
    try:
        own["HOME"] = pwd.getpwuid(uid).pw_dir
    except KeyError:
        own["HOME"] = "/nonexistent"
    return own

"""Chooses the ``GIT_*`` environment variables for the git processes that the sender starts.

receive-pack, http-backend, ssh and forges (Gitaly, Gitea) start the hook with ``GIT_*`` variables of three kinds:

- *Of the running command*: ``GIT_DIR=.`` (relative to a directory that the sender is not in), ``GIT_SHALLOW_FILE`` and
  ``GIT_QUARANTINE_PATH`` (temporary, gone when receive-pack ends), ``GIT_PUSH_OPTION_*``, ``GIT_PROTOCOL``,
  ``GIT_HTTP_*``, ``GIT_PROJECT_ROOT``, ``GIT_SSH*``, ``GIT_PREFIX``, ``GIT_INDEX_FILE``, ``GIT_WORK_TREE``,
  ``GIT_COMMON_DIR``, ``GIT_CEILING_DIRECTORIES``, ``GIT_CONFIG_COUNT``/``GIT_CONFIG_PARAMETERS`` (``git -c`` of that
  command), ``GIT_DEFAULT_HASH`` (for new repositories), ``GIT_TRACE*`` (may write to a stream that is closed by then,
  or into git's error messages), and those that change the output of plumbing commands (``GIT_DIFF_OPTS``,
  ``GIT_*_PATHSPECS``). All of them are dropped, and so are any that a later git introduces: the sender passes the
  repository explicitly and needs none of them.
- *Of the host*: the locations of git's programs and configuration files. They are kept.
- *Of the repository*: ``GIT_NAMESPACE`` and the object directories, unless these are the push's quarantine. They are
  stored with the push, because a sender started by a timer does not have them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

_OF_THE_HOST = frozenset({"GIT_EXEC_PATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"})
_OBJECTS = "GIT_OBJECT_DIRECTORY"
_ALTERNATES = "GIT_ALTERNATE_OBJECT_DIRECTORIES"
_NAMESPACE = "GIT_NAMESPACE"
_TEMPORARY_NAMES = ("incoming-", "tmp_objdir-", "quarantine-")


def of_the_repository(environment: Mapping[str, str], *, git_dir: Path) -> dict[str, str]:
    """Return the variables with which a later process finds the refs and objects of the current push."""
    found = {}
    if environment.get(_NAMESPACE):
        found[_NAMESPACE] = environment[_NAMESPACE]
    quarantine = environment.get("GIT_QUARANTINE_PATH")
    objects = environment.get(_OBJECTS)
    if objects and _is_lasting(Path(objects), quarantine) and Path(objects).resolve() != git_dir / "objects":
        found[_OBJECTS] = str(Path(objects).resolve())
    alternates = [
        each
        for each in _directories(environment.get(_ALTERNATES, ""))
        if _is_lasting(each, quarantine) and each != git_dir / "objects"
    ]
    if alternates:
        found[_ALTERNATES] = os.pathsep.join(_quoted(str(each)) for each in alternates)
    return found


def for_git(environment: Mapping[str, str], *, git_dir: Path, own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a git process that reads ``git_dir``.

    ``own`` holds the variables stored with the push, from ``of_the_repository``.
    """
    chosen = {name: value for name, value in environment.items() if not name.startswith("GIT_") or name in _OF_THE_HOST}
    chosen.update({name: own[name] for name in (_OBJECTS, _ALTERNATES) if name in own})
    # With GIT_DIR set, git skips both discovery and the ownership checks (safe.directory, safe.bareRepository), so that
    # an administrator can flush another user's spool. Replacement objects would make the reported ids differ from the
    # pushed ones. Fetching missing objects lazily would open a connection to another server.
    chosen.update({"GIT_DIR": str(git_dir), "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"})
    return chosen


def ref_prefix(own: Mapping[str, str]) -> str:
    """Return the prefix of every ref in the push's namespace; "" without a namespace."""
    return "".join(f"refs/namespaces/{part}/" for part in own.get(_NAMESPACE, "").split("/") if part)


def _is_lasting(directory: Path, quarantine: str | None) -> bool:
    """Return whether an object directory outlives receive-pack."""
    directory = directory.resolve()
    if quarantine is not None and directory.is_relative_to(Path(quarantine).resolve()):
        return False
    return directory.is_dir() and not directory.name.startswith(_TEMPORARY_NAMES)


def _directories(alternates: str) -> Iterator[Path]:
    """Yield the directories of a list in git's notation: separated by colons, with C-style quotes where ambiguous."""
    while alternates:
        if alternates.startswith('"'):
            path, alternates = _unquoted(alternates)
        else:
            path, _, alternates = alternates.partition(os.pathsep)
        if path:
            yield Path(path).resolve()


def _unquoted(text: str) -> tuple[str, str]:
    """Split off a quoted path; return it and the rest. Only escaped quotes and backslashes are supported."""
    path, position = "", 1
    while position < len(text) and text[position] != '"':
        position += text[position] == "\\"
        path += text[position : position + 1]
        position += 1
    return path, text[position + 1 :].lstrip(os.pathsep)


def _quoted(path: str) -> str:
    if os.pathsep not in path and not path.startswith('"'):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

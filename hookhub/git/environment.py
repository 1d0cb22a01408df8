"""Which of git's environment variables hold for the processes that the sender starts, and why.

receive-pack, http-backend, ssh and forges (Gitaly, Gitea) start the hook with ``GIT_*`` variables of three kinds:

- *Of the running command*: ``GIT_DIR=.`` (relative to a directory that the sender is not in), ``GIT_SHALLOW_FILE`` and
  ``GIT_QUARANTINE_PATH`` (temporary, gone when receive-pack ends), ``GIT_PUSH_OPTION_*``, ``GIT_PROTOCOL``,
  ``GIT_HTTP_*``, ``GIT_PROJECT_ROOT``, ``GIT_SSH*``, ``GIT_PREFIX``, ``GIT_INDEX_FILE``, ``GIT_WORK_TREE``,
  ``GIT_COMMON_DIR``, ``GIT_CEILING_DIRECTORIES``, ``GIT_CONFIG_COUNT``/``GIT_CONFIG_PARAMETERS`` (``git -c`` of that
  command), ``GIT_DEFAULT_HASH`` (for new repositories), ``GIT_TRACE*`` (may write to a stream that is closed by then,
  or between git's complaints), and those that change what plumbing prints (``GIT_DIFF_OPTS``, ``GIT_*_PATHSPECS``).
  All are dropped, and so is any that a later git invents: the sender names its repository itself, and asks nothing
  that these could answer.
- *Of the host*: where git's programs and its configuration files are. They are kept.
- *Of the repository*: ``GIT_NAMESPACE`` and the object directories, unless these are the push's quarantine. They are
  written down with the push, because a sender started by a timer does not have them.
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
    """Return the variables by which a later process finds the refs and objects of the push that runs now."""
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
    """Return the environment of a git process that reads ``git_dir``; ``own`` is what its push has on record."""
    chosen = {name: value for name, value in environment.items() if not name.startswith("GIT_") or name in _OF_THE_HOST}
    chosen.update({name: own[name] for name in (_OBJECTS, _ALTERNATES) if name in own})
    # With GIT_DIR given, git neither searches nor asks who owns the directory (safe.directory, safe.bareRepository):
    # an administrator may flush another user's spool. Replacement objects would make the ids we report differ from
    # those that were pushed; missing objects are not worth a connection to another server.
    chosen.update({"GIT_DIR": str(git_dir), "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"})
    return chosen


def ref_prefix(own: Mapping[str, str]) -> str:
    """Return what git puts before every ref of the namespace that a push went to; "" without one."""
    return "".join(f"refs/namespaces/{part}/" for part in own.get(_NAMESPACE, "").split("/") if part)


def _is_lasting(directory: Path, quarantine: str | None) -> bool:
    """Return whether an object directory is still there when receive-pack has ended."""
    directory = directory.resolve()
    if quarantine is not None and _is_within(directory, Path(quarantine).resolve()):
        return False
    return directory.is_dir() and not directory.name.startswith(_TEMPORARY_NAMES)


def _is_within(directory: Path, outer: Path) -> bool:
    return outer == directory or outer in directory.parents


def _directories(alternates: str) -> Iterator[Path]:
    """Yield the directories of a list as git writes one: divided by colons, in C's quotes where that is ambiguous."""
    while alternates:
        if alternates.startswith('"'):
            path, alternates = _unquoted(alternates)
        else:
            path, _, alternates = alternates.partition(os.pathsep)
        if path:
            yield Path(path).resolve()


def _unquoted(text: str) -> tuple[str, str]:
    """Split off a quoted path; git writes only quotes and backslashes with a backslash before them in most paths."""
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

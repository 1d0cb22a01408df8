"""The folder in which the processes of this machine keep their metrics, and where those of dead ones are added up.

Each process has files of its own under a random name, and holds a lock for as long as it lives, so that a process id
that is used again confuses nothing. The counts of dead processes are moved into an archive, because a total must never
fall; their gauges are deleted.
"""

import fcntl
import json
import logging
import os
import secrets
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

log = logging.getLogger("hookhub.metrics")

# The files of counts, which the archive has too; a process also has one of gauges.
KINDS = ("counter", "histogram")
GAUGES = "gauge_livesum"
ARCHIVE = "archive"
# The file system in memory that Linux has. On a disk, a write to a mapped file waits while the kernel saves the page.
MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it is checked
# What of a merge is to be completed if its process died.
JOURNAL = "merging.json"
# A file never grows beyond this, so that a full disk is found here and not by a write to memory, which would be fatal.
RESERVED_BYTES = 256 * 1024


class FolderUnusable(Exception):
    """The folder belongs to another user, or cannot be written."""


class MetricFiles:
    """The folder; every method may be called by several processes and threads at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The name of this process among the files, and the descriptor of its lock.
        self.name = ""
        self._lock = -1

    def join(self) -> str:
        """Return a new name for this process, with its files; raise FolderUnusable."""
        name = f"{os.getpid()}-{secrets.token_hex(6)}"
        try:
            self._make_folder()
            with self._alone():
                # The inherited descriptor of a parent's lock, which this process does not hold.
                if self._lock >= 0:
                    os.close(self._lock)
                self._lock = os.open(self.folder / f"{name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for prefix in (*KINDS, GAUGES):
                    _reserve(self.folder / f"{prefix}_{name}.db")
        except OSError as error:
            raise FolderUnusable(f"{self.folder}: {error}") from error
        self.name = name
        return name

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all processes, dead ones included."""
        with self._alone():
            self._bury_dead()
            files = [str(path) for path in sorted(self.folder.glob("*.db")) if _is_readable(path)]
            return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]

    def _make_folder(self) -> None:
        # In a folder that others may write to, such as /tmp, another user could have made it first.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.folder.stat(follow_symlinks=False)
        if found.st_uid != os.geteuid() or not self.folder.is_dir() or self.folder.is_symlink():
            raise FolderUnusable(f"{self.folder} is not a folder of this user")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock, which also excludes the other threads of this process."""
        descriptor = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            # A process forked meanwhile has the descriptor too, and would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _bury_dead(self) -> None:
        self._complete_merge()
        dead = [path.stem for path in self.folder.glob("*.lock") if path.stem != self.name and not _is_locked(path)]
        if not dead:
            return
        for name in dead:
            # Their gauges end with them, which makes room for the drafts.
            (self.folder / f"{GAUGES}_{name}.db").unlink(missing_ok=True)
        try:
            self._merge(dead)
        except OSError as error:
            # Their counts are read from their own files until there is room.
            log.warning("Cannot merge the metrics of %d ended processes in %s: %s", len(dead), self.folder, error)
            for draft in self.folder.glob("*.new"):
                draft.unlink(missing_ok=True)
            return
        self._complete_merge()

    def _merge(self, dead: list[str]) -> None:
        """Add the counts of dead processes to copies of the archive, and note which files these make superfluous."""
        drafts, superfluous = [], [f"{name}.lock" for name in dead]
        for kind in KINDS:
            parts = [f"{kind}_{name}.db" for name in dead]
            superfluous += parts
            draft = f"{kind}_{ARCHIVE}.new"
            merged = [self.folder / part for part in (f"{kind}_{ARCHIVE}.db", *parts)]
            (self.folder / draft).unlink(missing_ok=True)
            # As many bytes as if no two processes had counted the same.
            _reserve(self.folder / draft, sum(map(_used_bytes, merged)))
            totals = MmapedDict(str(self.folder / draft))  # type: ignore[no-untyped-call]
            for path in merged:
                if _is_readable(path):
                    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
                        totals.write_value(key, totals.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
            totals.close()  # type: ignore[no-untyped-call]
            drafts.append(draft)
        # From this rename on the merge is repeated until it is complete, and before it nothing has happened.
        draft_of_journal = self.folder / f"{JOURNAL}.new"
        draft_of_journal.write_text(json.dumps({"drafts": drafts, "superfluous": superfluous}))
        draft_of_journal.rename(self.folder / JOURNAL)

    def _complete_merge(self) -> None:
        journal = self.folder / JOURNAL
        try:
            noted: dict[str, list[str]] = json.loads(journal.read_text())
        except FileNotFoundError:
            return
        for draft in noted["drafts"]:
            with suppress(FileNotFoundError):
                (self.folder / draft).rename((self.folder / draft).with_suffix(".db"))
        for name in noted["superfluous"]:
            (self.folder / name).unlink(missing_ok=True)
        journal.unlink()


def default_folder(deployment: str) -> Path:
    """Return the folder of a deployment on this machine, for this user and these metrics."""
    try:
        parent = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise FolderUnusable(f"{error.strerror}; HOOKHUB_METRICS_DIR can name another") from error
    return parent / f"hookhub-metrics-{os.geteuid()}-{deployment}"


def _used_bytes(path: Path) -> int:
    """Return how many bytes of a file hold values, as its head says; none if there is no such file."""
    try:
        with path.open("rb") as file:
            used: int = struct.unpack("i", file.read(4))[0]
            return min(max(used, 0), path.stat().st_size)
    except (FileNotFoundError, struct.error):
        return 0


def _reserve(path: Path, size: int = 0) -> None:
    """Create a file with room for so many bytes, RESERVED_BYTES at least; raise OSError if there is none."""
    size = max(size, RESERVED_BYTES)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def _is_locked(path: Path) -> bool:
    """Return whether a living process holds the lock in a file; a process must not ask about its own."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_readable(path: Path) -> bool:
    """Return whether a file of metrics can be read in full: it may be damaged after the machine has lost power."""
    try:
        values: Iterable[Any] = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        for _ in values:
            pass
    except FileNotFoundError:
        return False
    except (RuntimeError, ValueError, IndexError, struct.error) as error:
        log.warning("Skipped a damaged file of metrics, %s: %s", path, error)
        return False
    return True

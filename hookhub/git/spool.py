"""Where events wait inside the repository until HookHub has accepted them: plain files, each complete or not there.

``<name>.push`` is what git told the hook. A sender turns it into ``<name>.<part>.events``: the lines of one request,
exactly as they will be sent, however often. Names sort in the order of the pushes. ``rejected/`` holds what the API
will never accept, each with the reason beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from hookhub.git.payloads import Push

DIRECTORY = "hookhub-spool"
CREATION_TOLD = "creation-told"
MAX_FILES = 10_000
MAX_BYTES = 512 << 20
MAX_REJECTED = 1_000
# What one request may carry.
MAX_BATCH_EVENTS = 1_000
MAX_BATCH_BYTES = 4 << 20
# Longer than any write takes: a temporary file this old belongs to a process that died.
ABANDONED_SECONDS = 3600


class SpoolFull(Exception):
    """The spool has reached its bounds; the message says what to do."""


class Spool:
    """The spool of one repository."""

    def __init__(self, git_dir: Path, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> None:
        self.directory = git_dir / DIRECTORY
        self.rejected = self.directory / "rejected"
        self._max_files = max_files
        self._max_bytes = max_bytes

    def keep(self, push: Push, *, at_ns: int) -> Path:
        """Write a push down durably and give its file; raise SpoolFull."""
        self._make(self.directory)
        self._demand_room()
        path = self.directory / f"{at_ns:020d}-{push.nonce}.push"
        self._write(path, json.dumps(push.as_json()).encode())
        return path

    def pushes(self) -> list[Path]:
        """List the pushes that are not yet turned into events, oldest first."""
        return self._named("*.push")

    def batches(self) -> list[Path]:
        """List the requests waiting to be sent, in order."""
        return self._named("*.events")

    def read_push(self, path: Path) -> Push:
        """Read a kept push; raise ValueError when the file is not one."""
        try:
            return Push.from_json(json.loads(path.read_bytes()))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a kept push: {error!r}") from error

    def replace(self, push_path: Path, events: Iterable[str]) -> None:
        """Put a push's events in its place, cut into requests; raise SpoolFull and keep the push as it was."""
        # A sender that died half-way left parts; nothing of them was sent while their push was still here.
        for leftover in self._named(f"{push_path.stem}.*.events"):
            leftover.unlink()
        # Asked once: a single push larger than the bounds must still get through when it is alone.
        self._demand_room()
        written: list[Path] = []
        try:
            for number, batch in enumerate(_batches(events)):
                written.append(push_path.with_suffix(f".{number:06d}.events"))
                self._write(written[-1], b"".join(batch))
        except BaseException:
            for part in written:
                part.unlink(missing_ok=True)
            raise
        self.remove(push_path)

    def halve(self, path: Path) -> bool:
        """Split a request in two, so that what is wrong with it can be found; tell whether it could be split."""
        lines = path.read_bytes().splitlines(keepends=True)
        if len(lines) < 2:
            return False
        middle = len(lines) // 2
        # The second half first: a crash in between repeats events, which their ids make harmless, and loses none.
        self._write(path.with_suffix(".1.events"), b"".join(lines[middle:]))
        self._write(path.with_suffix(".0.events"), b"".join(lines[:middle]))
        self.remove(path)
        return True

    def reject(self, path: Path, *, reason: str) -> None:
        """Set a file aside for good, with the reason beside it; the oldest make room for the newest."""
        self._make(self.rejected)
        self._write(self.rejected / f"{path.name}.reason", f"{reason}\n".encode())
        path.rename(self.rejected / path.name)
        _sync(self.directory)
        kept = sorted(each for each in self.rejected.iterdir() if each.suffix != ".reason")
        for oldest in kept[: max(0, len(kept) - MAX_REJECTED)]:
            oldest.unlink()
            oldest.with_name(f"{oldest.name}.reason").unlink(missing_ok=True)

    def remove(self, path: Path) -> None:
        """Forget a file whose content is safe elsewhere."""
        path.unlink()
        _sync(self.directory)

    def record_problem(self, problem: str | None) -> None:
        """Leave the reason why things wait in ``last-problem`` for whoever looks; None removes it."""
        path = self.directory / "last-problem"
        if problem is None:
            path.unlink(missing_ok=True)
        else:
            self._write(path, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {problem}\n".encode())

    def is_creation_told(self) -> bool:
        """Tell whether this repository has been told of before: one that lost all its branches is not a new one."""
        return (self.directory / CREATION_TOLD).exists()

    def note_creation(self) -> None:
        """Have it known that the repository has been told of."""
        if not self.is_creation_told():
            self._write(self.directory / CREATION_TOLD, b"")

    @contextlib.contextmanager
    def only_sender(self, *, wait_seconds: float = 0) -> Iterator[bool]:
        """Yield True while we alone may send, or False when another still does after ``wait_seconds``."""
        self._make(self.directory)
        path = self.directory / "lock"
        with path.open("a") as lock:
            _give_to_owner_of(self.directory, path)
            until = time.monotonic() + wait_seconds
            while not _locked(lock.fileno()):
                if time.monotonic() >= until:
                    yield False
                    return
                time.sleep(0.05)
            self._sweep()
            yield True

    def _demand_room(self) -> None:
        files, size = 0, 0
        for entry in os.scandir(self.directory):
            if entry.name.endswith((".push", ".events")):
                files += 1
                # A sender may remove what we have just listed.
                with contextlib.suppress(FileNotFoundError):
                    size += entry.stat().st_size
        if files >= self._max_files or size >= self._max_bytes:
            raise SpoolFull(
                f"the spool {self.directory} is full ({files} files, {size >> 20} MiB wait for HookHub); "
                f"see last-problem there, repair that, then run the hook with --flush"
            )

    def _named(self, pattern: str) -> list[Path]:
        return sorted(self.directory.glob(pattern))

    def _make(self, directory: Path) -> None:
        if not directory.is_dir():
            # Payloads tell what is in a private repository.
            directory.mkdir(mode=0o700, exist_ok=True)
            _give_to_owner_of(directory.parent, directory)

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file that is complete and on the disk from the moment it has its name."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _give_to_owner_of(self.directory, temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)

    def _sweep(self) -> None:
        for temporary in self._named(".*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - temporary.stat().st_mtime > ABANDONED_SECONDS:
                    temporary.unlink()


def _batches(events: Iterable[str]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for event in events:
        line = event.encode() + b"\n"
        if batch and (len(batch) == MAX_BATCH_EVENTS or size + len(line) > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync(directory: Path) -> None:
    """Make a rename or removal in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_to_owner_of(directory: Path, path: Path) -> None:
    """Let the repository's own user remove what root has made for it."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.chown(path, owner.st_uid, owner.st_gid)

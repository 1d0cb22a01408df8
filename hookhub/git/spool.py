"""Stores pushes and events in the repository until HookHub has accepted them, as files that are written atomically.

``<name>.push`` holds the ref updates that git passed to the hook, and ``<name>.refs`` the branch tips at that time. A
sender converts them to ``<name>.<part>.events``: the lines of one request, byte for byte as they are sent on every
attempt. ``<name>.progress`` records how far a push of several parts has been converted. Names sort in the order of the
pushes. ``rejected/`` holds what HookHub will never accept, each file with a ``.reason``; ``requeue`` requeues them.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from hookhub.git import files
from hookhub.git.payloads import Push

DIRECTORY = "hookhub-spool"
PUBLISHED = "creation-told"
ANNOUNCED_REFS = "announced-refs"
MAX_FILES = 10_000
MAX_BYTES = 512 << 20
MAX_REJECTED = 1_000
# The limits of one request. The bytes are those of one maximal event, so that an uplink that is fast enough for every
# event is fast enough for every request.
MAX_BATCH_EVENTS = 1_000
MAX_BATCH_BYTES = 1 << 20
# Longer than any write takes: a temporary file of this age was left by a process that died.
ABANDONED_SECONDS = 3600


class SpoolFull(Exception):
    """The spool has reached its limits; the message says what to do."""


@dataclass(frozen=True)
class Progress:
    """How far a push has been converted to batches: the position of its next event, and the number of batches."""

    change: int = 0
    place: int = 0
    batches: int = 0


@dataclass(frozen=True)
class Line:
    """One event as a line of a request, and its position: the index of the change, and of the event within it."""

    change: int
    place: int
    text: str


class Spool:
    """The spool of one repository."""

    def __init__(self, git_dir: Path, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> None:
        self.directory = git_dir / DIRECTORY
        self.rejected = self.directory / "rejected"
        self._max_files = max_files
        self._max_bytes = max_bytes

    def append(self, push: Push, *, at_ns: int) -> Path:
        """Store a push durably and return its file; raise SpoolFull.

        Its name sorts after those of all pushes in the spool, also if the clock was set back since.
        """
        self._make(self.directory)
        self._require_space()
        path = self.directory / f"{max(at_ns, self._newest() + 1):020d}-{push.nonce}.push"
        self._write(path, json.dumps(push.as_json()).encode())
        return path

    def pushes(self) -> list[Path]:
        """Return the files of pushes that are not converted to events yet, oldest first."""
        return self._named("*.push")

    def batches(self) -> list[Path]:
        """Return the files of requests to send, in order."""
        return self._named("*.events")

    def read_push(self, path: Path) -> Push:
        """Read a push; raise ValueError if the file does not hold one."""
        try:
            return Push.from_json(json.loads(path.read_bytes()))
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a stored push: {error!r}") from error

    def write_refs(self, push_path: Path, refs: bytes) -> None:
        """Store the listing of branch tips right after a push."""
        self._write(push_path.with_suffix(".refs"), refs, durably=False)

    def refs_of(self, push_path: Path) -> bytes | None:
        """Return the listing stored by ``write_refs``, or None."""
        with contextlib.suppress(FileNotFoundError):
            return push_path.with_suffix(".refs").read_bytes()
        return None

    def announced_refs(self, namespace: str) -> bytes | None:
        """Return the listing of branch tips at the last push that was converted to events, or None before the first."""
        with contextlib.suppress(FileNotFoundError):
            return self._announced(namespace).read_bytes()
        return None

    def progress_of(self, push_path: Path) -> Progress:
        """Return how far a push has been converted to batches; from its beginning if the record is missing or damaged.

        What is converted again is sent with the same ids, and so published once.
        """
        try:
            found = Progress(**json.loads(push_path.with_suffix(".progress").read_bytes()))
        except (FileNotFoundError, ValueError, TypeError, RecursionError):
            return Progress()
        return found if all(isinstance(number, int) and number >= 0 for number in astuple(found)) else Progress()

    def replace(self, push_path: Path, lines: Iterable[Line], *, namespace: str = "") -> Iterator[Progress]:
        """Replace a push by requests with its events, and yield after each one; raise SpoolFull before the first.

        ``lines`` must start at ``progress_of``. If the iteration ends early, the push and the requests written so far
        remain in the spool.
        """
        progress = self.progress_of(push_path)
        self._unlink_parts(push_path, first=progress.batches)
        # Checked only once, so that a single push larger than the limits can pass an empty spool.
        self._require_space()
        for batch, is_last in _batches(lines):
            content = b"".join(line.text.encode() + b"\n" for line in batch)
            self._write(push_path.with_suffix(f".{progress.batches:06d}.events"), content)
            progress = Progress(batch[-1].change, batch[-1].place + 1, progress.batches + 1)
            if not is_last:
                self._write(push_path.with_suffix(".progress"), json.dumps(asdict(progress)).encode())
            yield progress
        self.remove(push_path)
        push_path.with_suffix(".progress").unlink(missing_ok=True)
        try:
            push_path.with_suffix(".refs").replace(self._announced(namespace))
        except FileNotFoundError:
            # Delete the outdated listing of an earlier push: branches moved by this push would seem to have moved
            # without one.
            self._announced(namespace).unlink(missing_ok=True)

    def split(self, path: Path) -> bool:
        """Split a request in two, to isolate an invalid event; return False if it has only one event.

        Raise OSError, with the request as it was, if the disk takes no more.
        """
        lines = path.read_bytes().splitlines(keepends=True)
        if len(lines) < 2:
            return False
        middle = len(lines) // 2
        # Write the first half first: a crash in between repeats its events, which is idempotent, and changes no order.
        halves = {path.with_suffix(".0.events"): lines[:middle], path.with_suffix(".1.events"): lines[middle:]}
        try:
            for half, content in halves.items():
                self._write(half, b"".join(content))
        except OSError:
            for half in halves:
                half.unlink(missing_ok=True)
            raise
        self.remove(path)
        return True

    def reject(self, path: Path, *, reason: str) -> None:
        """Move a file to ``rejected/`` with a ``.reason`` file; delete the oldest ones beyond the limit."""
        self._make(self.rejected)
        # On a full disk without its reason: what is behind it must be sent, which frees space.
        with contextlib.suppress(OSError):
            self._write(self.rejected / f"{path.name}.reason", f"{reason}\n".encode())
        path.rename(self.rejected / path.name)
        files.sync(self.directory)
        kept = sorted(each for each in self.rejected.iterdir() if each.suffix != ".reason")
        for oldest in kept[: max(0, len(kept) - MAX_REJECTED)]:
            oldest.unlink()
            oldest.with_name(f"{oldest.name}.reason").unlink(missing_ok=True)

    def requeue(self) -> int:
        """Move all rejected files back to the spool, and return their number."""
        returned = 0
        for path in sorted(self.rejected.glob("*")):
            if path.suffix in (".push", ".events"):
                path.rename(self.directory / path.name)
                path.with_name(f"{path.name}.reason").unlink(missing_ok=True)
                returned += 1
        files.sync(self.directory)
        return returned

    def remove(self, path: Path) -> None:
        """Delete a file whose content is stored elsewhere."""
        path.unlink()
        files.sync(self.directory)

    def record_problem(self, problem: str | None) -> None:
        """Write the reason why the spool is not empty to ``last-problem``, if the disk lets it; None deletes that."""
        path = self.directory / "last-problem"
        # A note for people: that it cannot be written must not end the sender, nor hide the problem itself.
        with contextlib.suppress(OSError):
            if problem is None:
                path.unlink(missing_ok=True)
            else:
                self._write(path, f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {problem}\n".encode())

    def has_published(self, namespace: str = "") -> bool:
        """Return whether events of this repository were published before.

        This distinguishes a repository that lost all its branches from a new one.
        """
        return self._for(namespace, PUBLISHED).exists()

    def mark_published(self, namespace: str = "") -> None:
        """Record that events of this repository were published."""
        if not self.has_published(namespace):
            self._write(self._for(namespace, PUBLISHED), b"")

    @contextlib.contextmanager
    def sender_lock(self, *, wait_seconds: float = 0) -> Iterator[bool]:
        """Hold the spool's lock and yield True, or yield False if another sender still holds it after ``wait_seconds``.

        Leftovers of dead processes are deleted first.
        """
        self._make(self.directory)
        # Do not follow a symbolic link, which could point outside of the repository.
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            files.chown_like(self.directory, lock)
            until = time.monotonic() + wait_seconds
            while not files.locked(lock):
                if time.monotonic() >= until:
                    yield False
                    return
                time.sleep(0.05)
            self._sweep()
            yield True
        finally:
            os.close(lock)

    def _require_space(self) -> None:
        files, size = 0, 0
        for entry in os.scandir(self.directory):
            if entry.name.endswith((".push", ".events")):
                files += 1
                # A sender may delete a file just after it was listed.
                with contextlib.suppress(FileNotFoundError):
                    size += entry.stat().st_size
        if files >= self._max_files or size >= self._max_bytes:
            raise SpoolFull(
                f"the spool {self.directory} is full ({files} files, {size >> 20} MiB); "
                f"see last-problem there, fix the cause, then run the hook with --flush {self.directory.parent}"
            )

    def _newest(self) -> int:
        """Return the highest of the numbers with which the files of pushes and requests begin, or 0."""
        names = [entry.name for entry in os.scandir(self.directory) if entry.name.endswith((".push", ".events"))]
        return max((int(name[:20]) for name in names if name[:20].isdecimal()), default=0)

    def _named(self, pattern: str) -> list[Path]:
        return sorted(self.directory.glob(pattern))

    def _for(self, namespace: str, name: str) -> Path:
        """Return the file of a namespace; its name is encoded in hex, because it holds slashes."""
        return self.directory / (f"{name}-{namespace.encode('utf-8', 'surrogateescape').hex()}" if namespace else name)

    def _announced(self, namespace: str) -> Path:
        return self._for(namespace, ANNOUNCED_REFS)

    def _unlink_parts(self, push_path: Path, *, first: int) -> None:
        """Delete the batches from number ``first`` on: a sender died before it had recorded them as progress."""
        for part in self._named(f"{push_path.stem}.*.events"):
            if int(part.name[len(push_path.stem) + 1 :].split(".")[0]) >= first:
                part.unlink()

    def _make(self, directory: Path) -> None:
        if not directory.is_dir():
            # Only for the owner: payloads expose the content of private repositories.
            directory.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                files.chown_like(directory.parent, descriptor)
            finally:
                os.close(descriptor)

    def _write(self, path: Path, content: bytes, *, durably: bool = True) -> None:
        files.write(path, content, owner_of=self.directory, durably=durably)

    def _sweep(self) -> None:
        """Delete the leftovers of dead processes: partly written files, and files of pushes that are complete."""
        for temporary in (*self._named(".*.tmp"), *self._named("*.refs"), *self._named("*.progress")):
            with contextlib.suppress(FileNotFoundError):
                is_old = time.time() - temporary.stat().st_mtime > ABANDONED_SECONDS
                if is_old and not temporary.with_suffix(".push").exists():
                    temporary.unlink()


def _batches(lines: Iterable[Line]) -> Iterator[tuple[list[Line], bool]]:
    """Split lines into requests within the limits; yield each with whether it is the last."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        length = len(line.text.encode()) + 1
        if batch and (len(batch) == MAX_BATCH_EVENTS or size + length > MAX_BATCH_BYTES):
            yield batch, False
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield batch, True

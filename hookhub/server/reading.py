"""Tells whether a client reads a response fast enough, by what its machine has acknowledged."""

import fcntl
import struct
import termios
from typing import Protocol

# Seconds after which a client that reads nothing of a response is cut off.
STALLED_SECONDS = 60.0
# One that reads less than so many bytes in so many seconds is, too: a few at a time could hold a response for days.
SLOW_SECONDS = 300.0
SLOW_BYTES = 64 * 1024


class Connected(Protocol):
    """A connection's socket."""

    def fileno(self) -> int:
        """Return its file descriptor."""


class Reading:
    """What a client has read of all that is written to its connection; looked at about once a second."""

    def __init__(self, connected: Connected) -> None:
        self.written = 0
        self._socket = connected
        # What it has read, since when it has read no more, and where and when it is looked at how fast it reads.
        self._read = self._from = 0
        self._since = self._slow_since = 0.0
        self._is_behind = False

    def is_too_slow(self, unsent: int, *, now: float) -> bool:
        """Return whether the client keeps this process waiting for too long with ``unsent`` bytes."""
        if not unsent:
            self._is_behind = False
            return False
        read = self.written - unsent - self._in_kernel()
        if not self._is_behind:
            self._is_behind = True
            self._read, self._since = read, now
            self._from, self._slow_since = read, now
        if read > self._read:
            self._read, self._since = read, now
        if now - self._slow_since > SLOW_SECONDS:
            if read - self._from < SLOW_BYTES:
                return True
            self._from, self._slow_since = read, now
        return now - self._since > STALLED_SECONDS

    def _in_kernel(self) -> int:
        """Return how many bytes the kernel has not sent yet, or the client's has not acknowledged.

        The kernel takes more only once a third of its megabytes is free. For a client that reads some kilobytes a
        second, that takes minutes. The client's kernel in turn tells of what was read a segment at a time, which is 64
        KiB or more within a machine: a client there that reads less than some 1.5 KB/s seems to read nothing.
        """
        try:
            counted = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except (OSError, ValueError):
            # Not every system has this for sockets, and one that is closed has no number.
            return 0
        found: int = struct.unpack("i", counted)[0]
        return found

"""Runs work in a process that outlives the hook, and holds none of its streams."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

# A backstop far beyond anything a healthy sender does, for what no time limit in Python reaches: a hung resolver. What
# it has done by then is on disk.
LONGEST_LIFE_SECONDS = 1800
MAX_REPORT_BYTES = 4096


def detach(work: Callable[[], str]) -> int:
    """Run ``work``, which must not raise, in a process of its own; return a descriptor to read its result from."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        os.waitpid(child, 0)
        return reading
    # From here on this is the copy, and must never return into the program that was copied.
    try:
        os.setsid()
        if not os.fork():
            _let_go_of_streams(writing)
            # The hook may have ended; that is no reason to die of SIGPIPE in the middle of the work.
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(LONGEST_LIFE_SECONDS)
            os.write(3, work().encode("utf-8", errors="replace")[:MAX_REPORT_BYTES])
    finally:
        os._exit(0)


def _let_go_of_streams(keep: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    if keep != 3:
        os.dup2(keep, 3)
    os.closerange(4, 4096)

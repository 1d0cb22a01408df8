"""Runs a function in a daemon process that outlives the hook and keeps none of its streams open."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

# A backstop against hangs that no timeout in Python covers, such as a DNS resolver. It is far above the run time of a
# healthy sender, and its progress by then is on disk.
MAX_LIFE_SECONDS = 1800
MAX_REPORT_BYTES = 4096


def detach(work: Callable[[], str]) -> int:
    """Run ``work``, which must not raise, in a daemon process; return a file descriptor to read its result from."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        os.waitpid(child, 0)
        return reading
    # The child process: it must never return into the hook's code.
    try:
        os.setsid()
        if not os.fork():
            _let_go_of_streams(writing)
            # The hook may have exited: writing the report must not kill the process with SIGPIPE.
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(MAX_LIFE_SECONDS)
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

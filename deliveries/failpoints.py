"""Failpoints: places where a test can halt a process, to see how the system recovers.

The variable HOOKHUB_FAILPOINTS names a directory. A file there with the name of a failpoint halts the first process
that reaches it, once; the test then decides what to do with the halted process. Without the variable, and so
everywhere but under `python -m chaos`, ``hit`` does nothing.
"""

import os
import signal
import threading
from pathlib import Path

# In the order in which an event reaches them.
FAILPOINTS = (
    "event-stored",  # not yet committed if accept runs in a transaction
    "event-committed",  # before the wake-up is requested
    "group-committed",  # before the requests of the group are answered
    "woken",  # a wake-up received, before the worker loop looks for work
    "fanning-out",  # events taken from the outbox, not yet committed
    "fanned-out",  # committed, including deliveries claimed at once
    "claimed",  # committed
    "sent",  # requests in flight
    "answered",  # before settling
    "half-settled",  # delivery states updated, not yet committed
    "settled",
)
# In the order in which a verification reaches them.
OF_VERIFICATIONS = (
    "verification-claimed",  # committed, before its request is built
    "verification-half-concluded",  # its outcome and what follows from it written, not yet committed
    "verification-concluded",  # committed
)
# In the order in which a batch of a replay reaches them.
OF_REPLAYS = (
    "replay-half-done",  # its deliveries due and its progress written, not yet committed
    "replay-done",  # committed
)

_orders = os.environ.get("HOOKHUB_FAILPOINTS", "")


def _carry_out_an_order(name: str) -> None:
    order = Path(_orders, name)
    try:
        # Only one process can rename it, and the new name says which.
        order.rename(order.with_name(f"{name}.{os.getpid()}"))
    except FileNotFoundError:
        return
    # Signal this thread: with a signal to the process it could continue until another thread has handled it.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _go_on(name: str) -> None:
    del name


hit = _carry_out_an_order if _orders else _go_on

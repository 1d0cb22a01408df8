"""Places where a process can be halted on purpose, to see what becomes of the work when it goes no further.

Without HOOKHUB_FAILPOINTS, and so everywhere but under `python -m chaos`, ``reach`` is an empty function. With it, the
variable names a directory; a file there that is called like a failpoint is an order to halt, carried out once, by
whichever process comes by first. What then happens to the halted process is for whoever gave the order to decide.
"""

import os
import signal
import threading
from pathlib import Path

# In the order in which an event meets them.
FAILPOINTS = (
    "event-stored",  # in a transaction that is not committed yet, where accept needs one
    "event-committed",  # and the bell not rung
    "fanning-out",  # in a transaction that is not committed yet
    "fanned-out",  # and committed, with what is claimed at once
    "claimed",  # and committed
    "sent",  # or on its way, and not all answered
    "answered",  # and not settled
    "half-settled",  # the attempts are recorded in a transaction that is not committed yet
    "settled",
)

_orders = os.environ.get("HOOKHUB_FAILPOINTS", "")


def _carry_out_an_order(name: str) -> None:
    order = Path(_orders, name)
    try:
        # Only one can rename it, and the new name tells who did.
        order.rename(order.with_name(f"{name}.{os.getpid()}"))
    except FileNotFoundError:
        return
    # Sent to the process, any of its threads may take it, and this one go on for a moment.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _go_on(name: str) -> None:
    del name


reach = _carry_out_an_order if _orders else _go_on

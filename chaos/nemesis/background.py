"""Background work during a scenario, on its own thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDS_WITHIN_SECONDS = 60


@contextmanager
def in_background(work: Callable[[threading.Event], None], *, name: str) -> Iterator[None]:
    """Run ``work`` on a thread for the duration of the block; the event passed to it is set when it must end."""
    is_over = threading.Event()
    thread = threading.Thread(target=work, args=(is_over,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(timeout=ENDS_WITHIN_SECONDS)

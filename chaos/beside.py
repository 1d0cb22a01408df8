"""Work that goes on beside a scenario, in a thread of its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDS_WITHIN_SECONDS = 60


@contextmanager
def beside(work: Callable[[threading.Event], None], *, name: str) -> Iterator[None]:
    """Do some work meanwhile; the event that it is given is set when it is to end."""
    is_over = threading.Event()
    thread = threading.Thread(target=work, args=(is_over,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(timeout=ENDS_WITHIN_SECONDS)

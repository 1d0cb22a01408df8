"""Watches for the web server's recovery: how long publishers could not reach it beyond the fault itself."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from chaos.nemesis.background import in_background
from chaos.nemesis.context import RunContext

EVERY_SECONDS = 0.2


@contextmanager
def watch_web_server(context: RunContext) -> Iterator[None]:
    """Check during the block, on a separate thread, whether a web server that went down answers again."""
    with in_background(partial(_watch, context), name="watch"):
        yield
    context.web_is_back(time.time())


def _watch(context: RunContext, is_over: threading.Event) -> None:
    while not is_over.wait(EVERY_SECONDS):
        if context.web_is_down_since is not None and context.instance.is_ready():
            context.web_is_back(time.time())

"""Watches for the web server's recovery: how long publishers could not reach it beyond the fault itself."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from chaos.nemesis.background import beside
from chaos.nemesis.context import Scene

EVERY_SECONDS = 0.2


@contextmanager
def kept(scene: Scene) -> Iterator[None]:
    """Check during the block, on a separate thread, whether a web server that went down answers again."""
    with beside(partial(_look, scene), name="watch"):
        yield
    scene.web_is_back(time.time())


def _look(scene: Scene, is_over: threading.Event) -> None:
    while not is_over.wait(EVERY_SECONDS):
        if scene.web_is_down_since is not None and scene.is_web_up():
            scene.web_is_back(time.time())

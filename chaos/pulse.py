"""The machine's own pulse: where a COMMIT takes seconds and nothing was done to it, whoever waited may be excused."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg

from chaos.beside import beside
from chaos.scene import Scene

EVERY_SECONDS = 0.25
# Of a lease: a stall of this part of it can make somebody lose one that a healthy machine would have let him keep.
TOO_LONG = 1 / 3


@contextmanager
def taken(scene: Scene) -> Iterator[None]:
    """Feel the pulse meanwhile; each time it stood still is entered into the book as something that may have cut in.

    On a machine that others use as well, a disk may stand still for longer than a scenario's short leases.
    """
    with beside(partial(_feel, scene), name="pulse"):
        yield


def _feel(scene: Scene, is_over: threading.Event) -> None:
    while not is_over.is_set():
        try:
            with psycopg.connect(scene.database_url, autocommit=True, connect_timeout=5) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS chaos_pulse (at timestamptz)")
                connection.execute("INSERT INTO chaos_pulse SELECT now() WHERE NOT EXISTS (SELECT FROM chaos_pulse)")
                while not is_over.wait(EVERY_SECONDS):
                    since = time.time()
                    connection.execute("UPDATE chaos_pulse SET at = clock_timestamp()")
                    if time.time() - since > scene.lease * TOO_LONG and not scene.is_stalled_on_purpose(since):
                        what = f"the machine stood still for {time.time() - since:.1f} s"
                        scene.note(what, since=since, in_hand=None, kind="machine")
        except psycopg.Error:
            # Somebody is at PostgreSQL, and enters it into the book himself.
            is_over.wait(EVERY_SECONDS)

"""Watches the machine for stalls: a COMMIT that takes seconds without a fault explains delays elsewhere."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg

from chaos.nemesis.background import in_background
from chaos.nemesis.context import RunContext

EVERY_SECONDS = 0.25
# A stall longer than this fraction of a lease can expire it.
TOO_LONG = 1 / 3


@contextmanager
def watch_for_stalls(context: RunContext) -> Iterator[None]:
    """Watch for stalls during the block, and record each as an interruption that may have met any delivery.

    On a shared machine the disk may stall for longer than a scenario's short leases.
    """
    with in_background(partial(_watch, context), name="pulse"):
        yield


def _watch(context: RunContext, is_over: threading.Event) -> None:
    while not is_over.is_set():
        try:
            with psycopg.connect(context.instance.database_url, autocommit=True, connect_timeout=5) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS chaos_pulse (at timestamptz)")
                connection.execute("INSERT INTO chaos_pulse SELECT now() WHERE NOT EXISTS (SELECT FROM chaos_pulse)")
                while not is_over.wait(EVERY_SECONDS):
                    since = time.time()
                    connection.execute("UPDATE chaos_pulse SET at = clock_timestamp()")
                    if time.time() - since > context.lease * TOO_LONG and not context.is_stalled_on_purpose(since):
                        what = f"the machine stalled for {time.time() - since:.1f} s"
                        context.note(what, since=since, leased=None, kind="machine")
        except psycopg.Error:
            # A fault hit PostgreSQL, and records its own interruption.
            is_over.wait(EVERY_SECONDS)

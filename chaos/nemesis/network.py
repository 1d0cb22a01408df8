"""Faults of the network between two components, injected by the harness's proxy."""

import time
from typing import Literal

from chaos.nemesis.context import NOTHING_LEASED, RunContext
from chaos.nemesis.processes import Fault

Component = Literal["database", "redis", "web", "receiver"]


def cut(
    component: Component, mode: str, *, seconds: float, delay: float = 0.0, bytes_most: int = 0, after: str = ""
) -> Fault:
    """Return a fault that sets a component's proxy to ``mode`` for ``seconds``, then to ``after``, then to open.

    Any delivery may be repeated where the fault cuts off requests, or their settling for longer than results are kept.
    """

    def fault(context: RunContext) -> None:
        since = time.time()
        proxy = context.proxies[component]
        size = context.rng.randint(1, bytes_most) if bytes_most else 0
        proxy.set(mode, seconds=delay, bytes_most=size)
        context.wait(seconds)
        if after:
            proxy.set(after)
        proxy.set("open")
        how = f" after {size} bytes" if size else f" of {delay:g} s" if delay else ""
        what = f"network to {component}: {mode}{how} for {seconds:g} s"
        if component == "database" and mode != "latency":
            context.note_outage(what, since=since)
        else:
            context.note(
                what,
                since=since,
                leased=None if component == "receiver" and mode != "latency" else NOTHING_LEASED,
                kind=component,
            )

    return fault

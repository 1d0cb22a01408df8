"""Faults of the network between two components, injected by the harness's proxy."""

import time
from typing import Literal

from chaos.nemesis.context import NOBODY, Scene
from chaos.nemesis.processes import Fault

Part = Literal["database", "redis", "web", "receiver"]


def cut(part: Part, mode: str, *, seconds: float, delay: float = 0.0, bytes_most: int = 0, after: str = "") -> Fault:
    """Return a fault that sets a component's proxy to ``mode`` for ``seconds``, then to ``after``, then to open.

    Any delivery may be repeated where the fault cuts off requests, or their settling for longer than results are kept.
    """

    def fault(scene: Scene) -> None:
        since = time.time()
        proxy = scene.proxies[part]
        size = scene.chance.randint(1, bytes_most) if bytes_most else 0
        proxy.set(mode, seconds=delay, bytes_most=size)
        scene.wait(seconds)
        if after:
            proxy.set(after)
        proxy.set("open")
        how = f" after {size} bytes" if size else f" of {delay:g} s" if delay else ""
        what = f"network to {part}: {mode}{how} for {seconds:g} s"
        if part == "database" and mode != "latency":
            scene.note_outage(what, since=since)
        else:
            scene.note(
                what, since=since, in_hand=None if part == "receiver" and mode != "latency" else NOBODY, kind=part
            )

    return fault

"""CPU time per event: what each part of a HookHub, and the benchmark beside it, used for the events of a load."""

from collections.abc import Mapping


def each_us(before: Mapping[str, float], after: Mapping[str, float], *, events: int) -> dict[str, int]:
    """Return the microseconds per event of each part, as ``web_us``, from two readings in CPU seconds.

    A part that the first reading lacks had used nothing; one that has ended since is left out.
    """
    each = 1e6 / max(1, events)
    return {f"{name}_us": round((spent - before.get(name, 0.0)) * each) for name, spent in after.items()}

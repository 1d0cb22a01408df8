"""The cost of webhooks that match nothing: the same light load among ever more of them in its organization."""

from bench import light
from bench.publishing import running_instance, warm_up
from bench.row_copies import copy_webhooks
from bench.setup import SHORT_SECONDS
from testbed.processes import Log

OTHERS = (0, 1_000, 10_000)
OTHERS_IF_SHORT = (0, 100)
EVENTS_PER_S = 200
COMPARED = ("p50_ms", "p99_ms", "postgres_us")


def run(seconds: float, log: Log) -> dict[str, object]:
    """Return the figures of each number of other webhooks, and how those with the most compare to those with none."""
    figures: dict[str, object] = {"events_per_s": EVENTS_PER_S}
    counts = OTHERS_IF_SHORT if seconds < SHORT_SECONDS else OTHERS
    with running_instance() as (instance, receiver):
        warm_up(instance)
        there, found = 0, {}
        for count in counts:
            if count > there:
                copy_webhooks(instance, count - there, first=there, events="ARRAY['other.' || n % 50, 'other']")
                there = count
            found[count] = light.measure(instance, receiver, rate=EVENTS_PER_S, seconds=seconds)
            log(f"  among {count:,} webhooks that match nothing: {found[count]}")
    for count, measured in found.items():
        figures |= {f"{name}_among_{count}": measured[name] for name in (*COMPARED, "lost", "duplicated")}
    return figures | ratios(found)


def ratios(found: dict[int, dict[str, float]]) -> dict[str, object]:
    """Return the figures with other webhooks divided by those without."""
    alone = found[0]
    return {
        f"ratio_of_{name}_among_{count}": round(measured[name] / alone[name], 2)
        for count, measured in found.items()
        if count
        for name in COMPARED
    }

"""A HookHub under a light and under a moderate load of single events: how late each arrives, and what it costs."""

from bench import cpu, load
from bench.publishing import WARM_UP_EVENTS, api_of, arrivals, publish, running_instance, warm_up
from bench.setup import SHORT_SECONDS, ReceiverProcess
from testbed.instance import Instance
from testbed.processes import Log, wait_for

# Events per second, with the suffix of their figures.
RATES = {200: "", 1000: "_at_1000"}
PATIENCE_SECONDS = 90
WARM_UP_IF_SHORT = 50


def run(seconds: float, log: Log) -> dict[str, object]:
    """single events at 200 and at 1,000 per second."""
    figures: dict[str, object] = {}
    with running_instance() as (instance, receiver):
        warm_up(instance, events=WARM_UP_EVENTS if seconds >= SHORT_SECONDS else WARM_UP_IF_SHORT)
        for rate, suffix in RATES.items():
            log(f"{rate:,} events per second for {seconds:g} s …")
            found = measure(instance, receiver, rate=rate, seconds=seconds)
            log(f"  {found}")
            figures |= {f"{name}{suffix}": value for name, value in found.items()}
    return figures


def measure(instance: Instance, receiver: ReceiverProcess, *, rate: float, seconds: float) -> dict[str, float]:
    """Measure one load, until the last of its deliveries is settled."""
    receiver.reset()
    before, receiver_before = instance.cpu_seconds(), receiver.cpu_seconds()
    published = publish(api_of(instance), rate=rate, seconds=seconds, kinds=load.ENDPOINTS)
    wait_for(lambda: receiver.count() >= published.accepted, "the last arrival", seconds=PATIENCE_SECONDS, pause=0.1)
    instance.wait_until_settled(seconds=PATIENCE_SECONDS)
    parts = cpu.each_us(before, instance.cpu_seconds(), events=published.accepted)
    beside = {
        "receiver_us": round((receiver.cpu_seconds() - receiver_before) / published.accepted * 1e6),
        "publisher_us": round(published.cpu_seconds / published.accepted * 1e6),
    }
    return {**arrivals(receiver, published), **parts, "all_us": sum(parts.values()), **beside}

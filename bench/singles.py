"""How many single events per second are accepted while no worker runs, and what one costs."""

from bench import cpu, load
from bench.publishing import api_of, publish
from bench.setup import ReceiverProcess, fresh_instance
from testbed.processes import Log

# A longer benchmark ends here: more events would only make the tables larger.
MOST = 20_000
CONNECTIONS = 16


def run(seconds: float, log: Log) -> dict[str, object]:
    """single events accepted while the worker is stopped."""
    with ReceiverProcess() as receiver, fresh_instance() as instance, instance.started("web"):
        load.make_endpoints(instance, receiver.url())
        log(f"Single events over {CONNECTIONS} connections for {seconds:g} s …")
        before = instance.cpu_seconds()
        found = publish(
            api_of(instance), rate=0, seconds=seconds, most=MOST, kinds=load.ENDPOINTS, connections=CONNECTIONS
        )
        parts = cpu.each_us(before, instance.cpu_seconds(), events=found.accepted)
        stored = instance.ask("SELECT count(*) FROM hookhub_event")
    return {
        "accepted_per_s": round(found.accepted / found.seconds),
        "answer_p50_ms": round(found.answered_p50 * 1000, 2),
        **parts,
        "all_us": sum(parts.values()),
        "publisher_us": round(found.cpu_seconds / found.accepted * 1e6),
        "accepted": found.accepted,
        "lost": found.accepted - stored,
    }

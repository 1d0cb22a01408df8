"""What attackers do to the others: the same load without and with slow, silent and large requests beside it."""

import json
from contextlib import closing

from bench import load
from bench.publishing import api_of, arrivals, publish, running_instance, warm_up
from bench.setup import ReceiverProcess
from testbed.instance import Instance
from testbed.processes import Log, Module, wait_for
from testbed.servers import create_key

EVENTS_PER_S = 200
# 1,024 silent connections, 16 bodies at two bytes a second, and one body of 33 MB after the other, a second apart.
ATTACKS = ("silent", "slow", "long-at-times")
PATIENCE_SECONDS = 90
# The publisher takes a moment to start, and the attackers must not end before it.
MARGIN_SECONDS = 3.0


def run(seconds: float, log: Log) -> dict[str, object]:
    """200 events per second, beside slow bodies, silent connections and bodies of 33 MB."""
    with running_instance() as (instance, receiver):
        key = create_key("attacker", environment=instance.environment)
        warm_up(instance)
        log(f"{EVENTS_PER_S} events per second for {seconds:g} s, without attackers …")
        alone = measure(instance, receiver, seconds=seconds)
        log(f"  {alone}\nThe same with attackers …")
        with closing(Module("bench.attackers", str(instance.port), str(seconds + MARGIN_SECONDS), *ATTACKS)) as made:
            made.send(key)
            made.read()
            beside = measure(instance, receiver, seconds=seconds)
            attacks = json.loads(made.read())
        log(f"  {beside} {attacks}")
    return {
        "events_per_s": EVENTS_PER_S,
        **{f"{name}_without": value for name, value in alone.items()},
        **{f"{name}_with": value for name, value in beside.items()},
        "p99_ratio": round(beside["p99_ms"] / alone["p99_ms"], 2),
        **{name.replace(" ", "_"): count for name, count in sorted(attacks.items())},
    }


def measure(instance: Instance, receiver: ReceiverProcess, *, seconds: float) -> dict[str, float]:
    """Publish a load, and return how late its events arrived."""
    receiver.reset()
    published = publish(api_of(instance), rate=EVENTS_PER_S, seconds=seconds, kinds=load.ENDPOINTS)
    wait_for(lambda: receiver.count() >= published.accepted, "the last arrival", seconds=PATIENCE_SECONDS, pause=0.1)
    return arrivals(receiver, published)

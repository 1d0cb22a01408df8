"""Latency of an event on an idle HookHub, next to that of the least that a durable service has to do.

Both are measured by the same clock, from the planned time of a request to the arrival at the same receiver.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from bench import load, yardstick
from bench.publishing import api_of, publish
from bench.setup import ReceiverProcess, fresh_instance
from hookhub.embedded.service import is_ready
from testbed.instance import Instance
from testbed.processes import Log, free_port, wait_for
from testbed.sampling import percentiles

PER_S = 10
CONNECTIONS = 4
# At the beginning of each turn, in which every process opens its connections and prepares its statements.
WARM_UP_SECONDS = 2.0
# HookHub and the yardstick by turns, so that a slow moment of the machine does not meet only one of them.
TURNS = 2
YARDSTICK_PATH = "/ok/yardstick"
# Not HookHub's own web server: what is compared with must not become faster or slower with it.
BARE = (
    "exec granian --interface asgi --host 127.0.0.1 --port $PORT --workers ${WEB_WORKERS:-2} --http 1 --no-ws "
    "--backlog 2048 --backpressure 8192 --log-level warning bench.yardstick:application"
)


def run(seconds: float, log: Log) -> dict[str, object]:
    """idle system, ten events per second, and a bare endpoint for comparison."""
    samples: dict[str, list[float]] = {"hookhub": [], "yardstick": []}
    with (
        ReceiverProcess() as receiver,
        fresh_instance() as instance,
        instance.started("web"),
        instance.started("worker"),
        bare_endpoint(instance, receiver) as bare_url,
    ):
        load.make_endpoints(instance, receiver.url())
        targets = {"hookhub": ("/ok", api_of(instance)), "yardstick": (YARDSTICK_PATH, (bare_url,))}
        for turn in range(TURNS):
            for name, (path, target) in targets.items():
                log(f"Turn {turn + 1} of {TURNS}, {name}: {PER_S} events per second for {seconds / TURNS:g} s …")
                samples[name] += measure(receiver, path, target, seconds=seconds / TURNS)
        instance.check_ledger()
    own, least = percentiles(samples["hookhub"]), percentiles(samples["yardstick"])
    return {
        **own,
        **{f"yardstick_{name}": value for name, value in least.items()},
        "ratio_to_yardstick": round(own["p50_ms"] / least["p50_ms"], 2),
        "p99_ratio_to_yardstick": round(own["p99_ms"] / least["p99_ms"], 2),
        "samples": len(samples["hookhub"]),
    }


def measure(receiver: ReceiverProcess, path: str, target: tuple[str, ...], *, seconds: float) -> list[float]:
    """Publish one event after another, and return the latencies at ``path``, without those of the warm-up."""
    receiver.reset()
    published = publish(
        target, rate=PER_S, seconds=WARM_UP_SECONDS + seconds, kinds=load.ENDPOINTS, connections=CONNECTIONS
    )
    wait_for(lambda: receiver.count() >= published.accepted, "the last arrival")
    return receiver.latencies(path, since=published.begun_at + WARM_UP_SECONDS)


@contextmanager
def bare_endpoint(instance: Instance, receiver: ReceiverProcess) -> Iterator[str]:
    """Run bench/yardstick.py and yield its URL."""
    with psycopg.connect(instance.database_url, autocommit=True) as connection:
        connection.execute(yardstick.TABLE.encode())
    port = str(free_port())
    instance.commands["yardstick"] = BARE
    with instance.started("yardstick", PORT=port, RECEIVER_URL=receiver.url(YARDSTICK_PATH)):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: is_ready(url), "the bare endpoint")
        yield url

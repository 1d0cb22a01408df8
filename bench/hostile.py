"""What strangers and one malicious tenant can do to the others: `python -m bench.hostile [SECONDS]`.

Runs at the same time: 1,024 silent connections, 16 slow bodies, bodies of 33 MB, and 64 loops that create webhooks with
host names that no nameserver answers. The per-minute limits that would spare the server this load are off. Ends with
one line of JSON. Exits with 1 unless health checks are answered within a second, and the events of two other tenants,
one of them at an attacker's own address, are accepted in time and delivered exactly once.
"""

import json
import sys
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

from bench.attackers import CREATOR, CREATORS, SILENT, SLOW, request
from bench.setup import ReceiverProcess, fresh_instance
from hookhub.client import Client
from testbed.instance import WITHOUT_LIMITS, Instance
from testbed.processes import Module
from testbed.servers import create_key

SECONDS = 20.0
HEALTHY_WITHIN_SECONDS = 1.0
ACCEPTED_WITHIN_SECONDS = 3.0
DELIVERED_WITHIN_SECONDS = 60.0
PAUSE_SECONDS = 0.1
ATTACKS = ("silent", "slow", "long", "create")
PROBER = "127.0.0.8"
# One tenant at its own address, and one that shares an attacker's address but has its own key.
TENANTS = {"apart": "127.0.0.9", "beside": CREATOR}


@dataclass
class Probe:
    """A client that sends requests repeatedly; ``took`` has durations in seconds, ``failures`` unexpected answers."""

    port: int
    source: str
    took: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, content: bytes | None, headers: dict[str, str], *, expected: int) -> None:
        """Send one request on a new connection, as a program does that has just started."""
        asked_at = time.monotonic()
        status, answer = request(self.port, method, path, content, headers, source=self.source)
        if status != expected:
            self.failures.append(f"{status or 'no answer:'} {answer[:200]}")
        self.took.append(time.monotonic() - asked_at)

    def slowest(self) -> float:
        """Return the longest duration of a request, in seconds."""
        return round(max(self.took, default=0.0), 3)


def check_health(probe: Probe, stop: threading.Event) -> None:
    """Send health checks until ``stop`` is set."""
    while not stop.wait(PAUSE_SECONDS):
        probe.ask("GET", "/healthz", None, {}, expected=200)


def publish(probe: Probe, key: str, stop: threading.Event) -> None:
    """Publish one event after another until ``stop`` is set."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    while not stop.wait(PAUSE_SECONDS):
        event = {"type": "push", "data": {"number": len(probe.took)}}
        probe.ask("POST", "/v1/events", json.dumps(event).encode(), headers, expected=202)


def probe_under_attack(
    instance: Instance, keys: dict[str, str], seconds: float
) -> tuple[dict[str, Probe], dict[str, int]]:
    """Return the requests of health checks and tenants during the attacks, and the attackers' counts."""
    port = instance.port
    probes = {"health": Probe(port, PROBER), **{name: Probe(port, TENANTS[name]) for name in keys}}
    with closing(Module("bench.attackers", str(port), str(seconds), *ATTACKS)) as attackers:
        attackers.send(create_key("attacker", environment=instance.environment))
        attackers.read()
        stop = threading.Event()
        threads = [threading.Thread(target=check_health, args=(probes["health"], stop))]
        threads += [threading.Thread(target=publish, args=(probes[name], key, stop)) for name, key in keys.items()]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        return probes, dict(json.loads(attackers.read()))


def measure(seconds: float) -> dict[str, Any]:
    """Return the figures of one run, with ``faults``, which is empty when all requirements were met."""
    with fresh_instance(**WITHOUT_LIMITS) as instance, ReceiverProcess() as receiver, ExitStack() as stack:
        # The same web server, with host names that no nameserver answers.
        instance.commands["web"] = instance.commands["web"].replace("hookhub.service.asgi", "bench.silent_names")
        stack.enter_context(instance.started("web"))
        stack.enter_context(instance.started("worker"))
        keys = {name: create_key(name, environment=instance.environment) for name in TENANTS}
        for name, key in keys.items():
            with Client(instance.url, key) as client:
                client.webhooks.create(receiver.url(f"/ok-{name}"), events=["push"])
        probes, attacks = probe_under_attack(instance, keys, seconds)
        published = sum(len(probes[name].took) for name in keys)
        began_at = time.monotonic()
        while receiver.count() < published and time.monotonic() - began_at < DELIVERED_WITHIN_SECONDS:
            time.sleep(0.05)
        took = time.monotonic() - began_at
        report = receiver.report()
    figures: dict[str, Any] = {
        "seconds": seconds,
        "health_checks": len(probes["health"].took),
        "slowest_health_check_s": probes["health"].slowest(),
        "delivered_after_s": round(took, 3),
        "attacks": attacks,
    }
    for name in keys:
        ordered = sorted(probes[name].took)
        figures[name] = {
            "published": len(ordered),
            "delivered": report.get(f"/ok-{name}", {}).get("distinct", 0),
            "twice": report.get(f"/ok-{name}", {}).get("duplicated", 0),
            "median_s": round(ordered[len(ordered) // 2], 3) if ordered else None,
            "slowest_s": probes[name].slowest(),
        }
    failures = [f"{name}: {one}" for name, probe in probes.items() for one in probe.failures]
    return {**figures, "faults": failures[:10] + failures_in(figures)}


def failures_in(figures: dict[str, Any]) -> list[str]:
    """Return the requirements that were not met, including attacks that did not take place."""
    found = []
    if not figures["health_checks"] or figures["slowest_health_check_s"] > HEALTHY_WITHIN_SECONDS:
        found.append(
            f"the slowest of {figures['health_checks']} health checks took {figures['slowest_health_check_s']} s"
        )
    for name in TENANTS:
        tenant = figures[name]
        if not tenant["published"] or tenant["slowest_s"] > ACCEPTED_WITHIN_SECONDS:
            found.append(
                f"{name}: the slowest of {tenant['published']} events was accepted after {tenant['slowest_s']} s"
            )
        if tenant["delivered"] != tenant["published"] or tenant["twice"]:
            found.append(
                f"{name}: {tenant['delivered']} of {tenant['published']} events were delivered, {tenant['twice']} twice"
            )
    attacks = figures["attacks"]
    least = {"silent connections": SILENT, "slow bodies": SLOW, "webhooks 201": CREATORS, "long bodies 422": 2}
    for what, count in least.items():
        if attacks.get(what, 0) < count:
            found.append(f"only {attacks.get(what, 0)} of {count} attacks of kind {what!r} took place")
    return found


def main() -> None:
    figures = measure(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
    print(json.dumps({"verdict": "broken" if figures["faults"] else "ok", **figures}), flush=True)
    sys.exit(bool(figures["faults"]))


if __name__ == "__main__":
    main()

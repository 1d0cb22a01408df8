"""What strangers and one malicious tenant can do to the others: `python -m bench.hostile [SECONDS]`.

Runs at the same time: 1,024 silent connections, 16 slow bodies, bodies of 33 MB, and 64 loops that create webhooks with
host names that no nameserver answers. The per-minute limits that would spare the server this load are off. Ends with
one line of JSON. Exits with 1 unless health checks are answered within a second, and the events of two other tenants,
one of them at an attacker's own address, are accepted in time and delivered exactly once.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.attackers import CREATOR, CREATORS, SILENT, SLOW
from bench.stage import ROOT, STARTS_WITHIN_SECONDS, Sink, Stage, stage, wait_for
from hookhub import procfile
from hookhub.client import Client
from hookhub.embedded import service

SECONDS = 20.0
HEALTHY_WITHIN_SECONDS = 1.0
ACCEPTED_WITHIN_SECONDS = 3.0
DELIVERED_WITHIN_SECONDS = 60.0
PAUSE_SECONDS = 0.1
PROBER = "127.0.0.8"
# One tenant at its own address, and one that shares an attacker's address but has its own key.
TENANTS = {"apart": "127.0.0.9", "beside": CREATOR}
WITHOUT_LIMITS = {
    "HOOKHUB_REQUESTS_PER_ADDRESS": "0",
    "HOOKHUB_REQUESTS_PER_KEY": "0",
    "HOOKHUB_REQUESTS_PER_ORGANIZATION": "0",
    "HOOKHUB_WEBHOOK_CHANGES": "0",
    "HOOKHUB_WEBHOOKS_PER_ORGANIZATION": "0",
    "HOOKHUB_WEBHOOKS_PER_HOST": "0",
}


@dataclass
class Watch:
    """A client that sends requests repeatedly; ``took`` has durations in seconds, ``failures`` unexpected answers."""

    port: int
    source: str
    took: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, content: bytes | None, headers: dict[str, str], *, expected: int) -> None:
        """Send one request on a new connection, as a program does that has just started."""
        asked_at = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(self.source, 0))
        try:
            connection.request(method, path, content, headers)
            with connection.getresponse() as response:
                said = response.read()
                if response.status != expected:
                    self.failures.append(f"{response.status} {said[:200].decode(errors='replace')}")
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(repr(error))
        finally:
            connection.close()
        self.took.append(time.monotonic() - asked_at)

    def slowest(self) -> float:
        """Return the longest duration of a request, in seconds."""
        return round(max(self.took, default=0.0), 3)


def probe(watch: Watch, stop: threading.Event) -> None:
    """Send health checks until ``stop`` is set."""
    while not stop.wait(PAUSE_SECONDS):
        watch.ask("GET", "/healthz", None, {}, expected=200)


def publish(watch: Watch, key: str, stop: threading.Event) -> None:
    """Publish one event after another until ``stop`` is set."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    while not stop.wait(PAUSE_SECONDS):
        event = {"type": "push", "data": {"number": len(watch.took)}}
        watch.ask("POST", "/v1/events", json.dumps(event).encode(), headers, expected=202)


def create_key(bench: Stage, organization: str) -> str:
    """Create an organization, and return a key for it."""
    options = ("--organization", organization, "--create-organization", "--scope", "master")
    return service.run("create_api_key", *options, environment=bench.environment).strip()


@contextmanager
def web(bench: Stage) -> Iterator[None]:
    """Run the web server with the Procfile's command, and with host names that no nameserver answers."""
    command = procfile.commands()["web"].replace("config.asgi", "bench.silent_names")
    with bench.started("web", command):
        wait_for(lambda: service.is_ready(bench.url), "the web server", seconds=STARTS_WITHIN_SECONDS)
        yield


def watch_under_attack(bench: Stage, keys: dict[str, str], seconds: float) -> tuple[dict[str, Watch], dict[str, int]]:
    """Return the requests of health checks and tenants during the attacks, and the attackers' counts."""
    port = int(bench.environment["PORT"])
    attacker_key = create_key(bench, "attacker")
    watches = {"health": Watch(port, PROBER), **{name: Watch(port, TENANTS[name]) for name in keys}}
    attackers = subprocess.Popen(
        [sys.executable, "-m", "bench.attackers", str(port), str(seconds)],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with attackers:
        assert attackers.stdin is not None
        assert attackers.stdout is not None
        attackers.stdin.write(f"{attacker_key}\n")
        attackers.stdin.flush()
        attackers.stdout.readline()
        stop = threading.Event()
        threads = [threading.Thread(target=probe, args=(watches["health"], stop))]
        threads += [threading.Thread(target=publish, args=(watches[name], key, stop)) for name, key in keys.items()]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        return watches, dict(json.loads(attackers.stdout.readline()))


def measure(seconds: float) -> dict[str, Any]:
    """Return the figures of one run, with ``faults``, which is empty when all requirements were met."""
    with stage(**WITHOUT_LIMITS) as bench, Sink() as sink, web(bench), bench.running("worker"):
        keys = {name: create_key(bench, name) for name in TENANTS}
        for name, key in keys.items():
            with Client(bench.url, key) as client:
                client.webhooks.create(sink.url(f"/ok-{name}"), events=["push"])
        watches, attacks = watch_under_attack(bench, keys, seconds)
        published = sum(len(watches[name].took) for name in keys)
        began_at = time.monotonic()
        while sink.count() < published and time.monotonic() - began_at < DELIVERED_WITHIN_SECONDS:
            time.sleep(0.05)
        took = time.monotonic() - began_at
        report = sink.report()
    figures: dict[str, Any] = {
        "seconds": seconds,
        "health_checks": len(watches["health"].took),
        "slowest_health_check_s": watches["health"].slowest(),
        "delivered_after_s": round(took, 3),
        "attacks": attacks,
    }
    for name in keys:
        ordered = sorted(watches[name].took)
        figures[name] = {
            "published": len(ordered),
            "delivered": report.get(f"/ok-{name}", {}).get("distinct", 0),
            "twice": report.get(f"/ok-{name}", {}).get("duplicated", 0),
            "median_s": round(ordered[len(ordered) // 2], 3) if ordered else None,
            "slowest_s": watches[name].slowest(),
        }
    failures = [f"{name}: {one}" for name, watch in watches.items() for one in watch.failures]
    return {**figures, "faults": failures[:10] + faults_in(figures)}


def faults_in(figures: dict[str, Any]) -> list[str]:
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

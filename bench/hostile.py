"""What strangers and one bad tenant can do to the others: `python -m bench.hostile [SECONDS]`.

Silent connections, slow bodies, bodies of 33 MB and webhooks at names that nobody answers for, all at once. Exits
with 1 unless every health check is answered within a second and every event of another tenant is delivered once.
"""

import json
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack

import requests

from bench.stage import Sink, Stage, stage, wait_for
from hookhub import service
from hookhub.client import Client

SILENT = 1024
SLOW = 16
CREATORS = 64
HEALTHY_WITHIN_SECONDS = 1.0
DELIVERED_WITHIN_SECONDS = 60
SLOW_PATHS = ("/admin/login/", "/v1/auth/login/", "/v1/events", "/admin/")
LONG_BODIES = (
    (b"[" + b"{}," * 11_000_000 + b"{}]", "application/json"),
    (b"\n" * 33_000_000, "application/x-ndjson"),
    (b"{}\n" * 11_000_000, "application/x-ndjson"),
)


def send_slowly(port: int, path: str, stop: threading.Event) -> None:
    """Send a body one byte every half a second, and begin again when it is refused."""
    while not stop.is_set():
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
            try:
                connection.sendall(head.encode())
                while not stop.wait(0.5):
                    connection.sendall(b"x")
            except OSError:
                continue


def send_long(url: str, key: str, stop: threading.Event) -> None:
    """Publish one body of 33 MB after the other."""
    number = 0
    while not stop.is_set():
        content, content_type = LONG_BODIES[number % len(LONG_BODIES)]
        number += 1
        headers = {"Authorization": f"Bearer {key}", "Content-Type": content_type}
        answer = requests.post(f"{url}/v1/events", content, headers=headers, timeout=60)
        if answer.status_code < 400:
            raise RuntimeError(f"a body of 33 MB was answered {answer.status_code}")


def create_webhooks(url: str, key: str, stop: threading.Event) -> None:
    """Create webhooks at names that lead nowhere, whatever the answer."""
    headers = {"Authorization": f"Bearer {key}"}
    while not stop.is_set():
        wanted = {"url": f"http://{uuid.uuid4().hex}.silent.invalid/", "events": ["other"]}
        requests.post(f"{url}/v1/webhooks", json=wanted, headers=headers, timeout=60)


def attack(bench: Stage, key: str, stop: threading.Event, stack: ExitStack) -> None:
    """Begin all of it at once."""
    port = int(bench.environment["PORT"])
    for _ in range(SILENT):
        stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    jobs: list[tuple[Callable[..., None], tuple[object, ...]]] = [
        (send_slowly, (port, SLOW_PATHS[number % len(SLOW_PATHS)], stop)) for number in range(SLOW)
    ]
    jobs += [(send_long, (bench.url, key, stop))] + [(create_webhooks, (bench.url, key, stop))] * CREATORS
    threads = [threading.Thread(target=job, args=arguments, daemon=True) for job, arguments in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        stack.callback(thread.join, 90)
    stack.callback(stop.set)


def watch(bench: Stage, client: Client, seconds: float) -> tuple[list[float], int]:
    """Return how long each health check took, and how many events another tenant published meanwhile."""
    took, published = [], 0
    end_at = time.monotonic() + seconds
    while time.monotonic() < end_at:
        asked_at = time.monotonic()
        requests.get(f"{bench.url}/healthz", timeout=30).raise_for_status()
        took.append(time.monotonic() - asked_at)
        client.publish("push", {"number": published}, id=f"victim-{published}")
        published += 1
        time.sleep(0.1)
    return took, published


def measure(seconds: float) -> dict[str, object]:
    """Return the figures of one run."""
    with stage() as bench, Sink() as sink, bench.running("web"), bench.running("worker"):
        options = ("--organization", "attacker", "--create-organization", "--scope", "master")
        key = service.run("create_api_key", *options, environment=bench.environment).strip()
        with bench.client() as client, ExitStack() as stack:
            client.webhooks.create(sink.url(), events=["push"])
            attack(bench, key, threading.Event(), stack)
            took, published = watch(bench, client, seconds)
            stack.close()
            wait_for(lambda: sink.count() >= published, "the events", seconds=DELIVERED_WITHIN_SECONDS)
            return {
                "health_checks": len(took),
                "slowest_health_check_s": round(max(took), 3),
                "published": published,
                "delivered": sink.count(),
            }


def main() -> None:
    figures = measure(float(sys.argv[1]) if len(sys.argv) > 1 else 15)
    print(json.dumps(figures))
    is_well = float(str(figures["slowest_health_check_s"])) <= HEALTHY_WITHIN_SECONDS
    sys.exit(0 if is_well and figures["delivered"] == figures["published"] else 1)


if __name__ == "__main__":
    main()

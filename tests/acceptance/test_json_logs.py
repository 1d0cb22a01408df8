"""Every line that a web server and a worker write is a JSON object, and Sentry gets their errors without secrets."""

import gzip
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
import requests

from testbed.instance import Instance
from testbed.processes import wait_for
from tests.acceptance.instances import idle_instance
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.acceptance

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SECRET = "the-payload-of-a-tenant"


class Sentry(ThreadingHTTPServer):
    """A server that takes Sentry's envelopes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.events: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.dsn = f"http://0123456789abcdef@127.0.0.1:{self.server_address[1]}/1"

    def of(self, role: str) -> list[dict[str, Any]]:
        """Return the events of processes with a role."""
        return [event for event in list(self.events) if event.get("tags", {}).get("role") == role]


class Handler(BaseHTTPRequestHandler):
    server: Sentry

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        self.server.texts.append(content.decode())
        _, *items = content.split(b"\n")
        for header, body in zip(items[::2], items[1::2], strict=False):
            if header and json.loads(header).get("type") == "event":
                self.server.events.append(json.loads(body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def recording() -> Iterator[Sentry]:
    with Sentry() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    with recording() as server:
        yield server


@pytest.fixture
def instance(sentry: Sentry) -> Iterator[Instance]:
    with idle_instance(HOOKHUB_LOG_FORMAT="json", HOOKHUB_ACCESS_LOG="1", SENTRY_DSN=sentry.dsn) as running:
        # As a service manager starts them.
        for name in ("web", "worker"):
            running.commands[name] = f"exec {sys.executable} manage.py run {name}"
            running.start(name)
        running.wait_until_ready()
        yield running


def lines_of(instance: Instance, name: str) -> list[dict[str, Any]]:
    """Return the log of a process; fail for a line that is no JSON object."""
    found = []
    for line in (instance.logs / f"{name}.log").read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            pytest.fail(f"{name} wrote a line that is no JSON: {line!r}")
        assert isinstance(entry, dict), line
        assert {"time", "level", "logger", "pid"} <= entry.keys(), line
        assert len(line) <= 4096
        found.append(entry)
    return found


def of_logger(lines: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["logger"] == name]


def test_every_line_is_an_object_and_errors_are_reported(
    instance: Instance, receiver: Receiver, sentry: Sentry
) -> None:
    receiver.answers["/bad"] = Answer(500, body=b"<b>no</b>")
    instance.client.webhooks.create(receiver.url("/good"), events=["*"])
    instance.client.webhooks.create(receiver.url("/bad"), events=["*"])
    answered = requests.post(
        f"{instance.url}/v1/events",
        json=[{"type": "push", "data": {"secret": SECRET, "number": number}} for number in range(60)],
        headers={"Authorization": f"Bearer {instance.key}", "traceparent": PARENT},
        timeout=30,
    )
    assert answered.status_code == 202
    receiver.wait_for(120)
    # An unknown host, a failing statement in both processes, and deaths of a child and of a web process.
    requests.get(instance.url, headers={"Host": "elsewhere.example"}, timeout=30)
    rename(instance, "failing_since", "misplaced")
    assert requests.get(f"{instance.url}/v1/webhooks", headers=authorized(instance), timeout=30).status_code == 500
    wait_for(lambda: sentry.of("web") and sentry.of("scheduler"), "a report of each process")
    rename(instance, "misplaced", "failing_since")
    instance.children_of("worker")[0].kill()
    instance.children_of("web")[-1].kill()
    instance.wait_until_ready()
    instance.servers.process("valkey").kill()
    instance.client.publish("push", {"secret": SECRET})
    receiver.wait_for(122)
    assert instance.stop("worker") == 0
    instance.stop("web")

    web, worker = lines_of(instance, "web"), lines_of(instance, "worker")
    attempts = of_logger(worker, "hookhub.attempts")
    assert len(attempts) >= 122
    assert {line.get("trace") for line in attempts} == {TRACE, None}
    assert {line["organization"] for line in attempts} == {"acme"}
    assert {line["outcome"] for line in attempts} == {"delivered", "failed"}
    assert {line.get("trace") for line in of_logger(web, "hookhub.access")} == {TRACE, None}
    (broken, *_) = of_logger(web, "django.request")
    assert "does not exist" in broken["exception"]
    assert [line for line in worker if "shutdown" in line.get("message", "")]
    assert [line for line in of_logger(web, "hookhub.http") if "another one starts" in line["message"]]

    for role in ("web", "scheduler"):
        report = sentry.of(role)[0]
        assert report["release"].startswith("hookhub@")
        assert "request" not in report
        errors = report["exception"]["values"]
        frames = [frame for error in errors for frame in (error.get("stacktrace") or {}).get("frames", ())]
        assert frames
        assert all("vars" not in frame for frame in frames)
    assert not [text for text in sentry.texts if SECRET in text or instance.key in text or "misplaced" in text]


def authorized(instance: Instance) -> dict[str, str]:
    return {"Authorization": f"Bearer {instance.key}", "X-Secret": SECRET}


def rename(instance: Instance, old: str, new: str) -> None:
    """Rename a column, so that statements fail."""
    with psycopg.connect(instance.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE hookhub_webhook RENAME COLUMN {old} TO {new}".encode())

"""Polling webhooks on real processes: the waiting requests, a consumer through crashes, and ``listen --forward``."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from hookhub.client import Event
from hookhub.forwarding import forwarder as forwarding
from hookhub.procfile import ROOT
from hookhub.receiving import verify
from testbed.instance import Instance
from testbed.processes import wait_for
from tests.acceptance.instances import as_new, idle_instance
from tests.receiver import Answer, Received, Receiver

pytestmark = pytest.mark.acceptance

SECRET = "whsec_" + "7" * 48
LONG = 60.0
WEBHOOKS = "SELECT count(*) FROM hookhub_webhook WHERE deleted_at IS NULL"


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    # Fewer threads than requests that wait.
    with idle_instance(WEB_THREADS="2") as running:
        yield running


@pytest.fixture
def instance(shared: Instance) -> Instance:
    return as_new(shared)


class Poller:
    """A client of one polling webhook."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        fields = {"kind": "poll", "events": ["push"], "secret": SECRET, "format": "standard-webhooks"}
        self.path = f"/v1/webhooks/{self.call('POST', '/v1/webhooks', json=fields)['id']}"

    def call(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.instance.key}"}
        answer = requests.request(method, self.instance.url + path, headers=headers, timeout=LONG, **more)
        assert answer.ok, answer.text
        return answer.json()

    def poll(self, **query: object) -> Any:
        return self.call("GET", f"{self.path}/poll", params=query)


def test_many_requests_wait_without_a_thread_and_all_get_the_event(instance: Instance) -> None:
    poller = Poller(instance)
    cursor = poller.poll(cursor="latest")["cursor"]
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(poller.poll, wait=30, cursor=cursor) for _ in range(8)]
        # The web server has two threads, and answers others meanwhile.
        assert poller.poll()["events"] == []

        instance.client.publish_batch([Event("push", {"n": 1})])

        for each in waiting:
            (event,) = each.result(LONG)["events"]
            assert verify(event["body"].encode(), event["headers"], secrets=SECRET).data == {"n": 1}


def test_a_request_that_waits_hears_that_its_webhook_or_its_key_is_gone(instance: Instance) -> None:
    poller, other = Poller(instance), Poller(instance)
    # The page of a key of its own, because that of the instance is needed.
    key = instance.client.api_keys.create(scope="read", name="reader")
    headers = {"Authorization": f"Bearer {key['key']}"}

    def wait_for_events(of: Poller, headers: dict[str, str]) -> requests.Response:
        return requests.get(f"{instance.url}{of.path}/poll?wait=30", headers=headers, timeout=LONG)

    with ThreadPoolExecutor(2) as pool:
        deleted = pool.submit(wait_for_events, poller, {"Authorization": f"Bearer {instance.key}"})
        revoked = pool.submit(wait_for_events, other, headers)
        # Until both wait: only a request that waits takes so long.
        for each in (deleted, revoked):
            with pytest.raises(TimeoutError):
                each.result(1)
        instance.client.webhooks.delete(poller.path.rpartition("/")[2])
        instance.client.api_keys.revoke(key["id"])
        instance.client.publish_batch([Event("push", {"n": 1})])
        answers = [each.result(LONG) for each in (deleted, revoked)]

    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in answers] == [
        (404, "not_found"), (401, "unauthenticated"),
    ]  # fmt: skip
    assert "WWW-Authenticate" in answers[1].headers


def test_a_request_that_waits_is_answered_when_its_client_sends_no_more_and_when_the_web_server_stops(
    instance: Instance,
) -> None:
    poller = Poller(instance)
    cursor = poller.poll(cursor="latest")["cursor"]
    head = f"GET {poller.path}/poll?wait=30&cursor={cursor} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    address = ("127.0.0.1", int(instance.url.rpartition(":")[2]))
    with socket.create_connection(address, LONG) as leaving, ThreadPoolExecutor(1) as pool:
        leaving.sendall(f"{head}Authorization: Bearer {instance.key}\r\n\r\n".encode())
        staying = pool.submit(poller.poll, wait=30, cursor=cursor)
        # Until both wait: only a request that waits takes so long.
        with pytest.raises(TimeoutError):
            staying.result(1)
        leaving.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: leaving.recv(4096), b""))
        assert not staying.done()
        assert instance.stop("web") == 0
        page = staying.result(LONG)
    instance.start("web")
    instance.wait_until_ready()

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["events"] == page["events"] == []
    assert page["cursor"] == cursor


def test_a_consumer_misses_nothing_while_everything_dies(instance: Instance) -> None:
    poller, seen, over = Poller(instance), [], threading.Event()

    def consume() -> None:
        while True:
            try:
                page = poller.poll(consumer="one", wait=1)
                seen.extend(json.loads(each["body"])["data"]["n"] for each in page["events"])
                poller.call("PUT", f"{poller.path}/consumers/one", json={"cursor": page["cursor"]})
            except (requests.RequestException, AssertionError):
                continue
            if over.is_set() and not page["events"]:
                return

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    for number in range(0, 60, 20):
        instance.client.publish_batch([Event("push", {"n": each}) for each in range(number, number + 20)])
        instance.kill("worker")
        instance.start("worker")
        if number == 20:
            instance.kill("web")
            instance.start("web")
            instance.wait_until_ready()
    wait_for(lambda: len(set(seen)) == 60, "all events to be consumed", seconds=LONG)
    over.set()
    consumer.join(LONG)

    # What was fetched but not committed when the web server died may come again.
    assert sorted(set(seen)) == list(range(60))
    assert [each["behind"] for each in poller.call("GET", f"{poller.path}/consumers")["consumers"]] == [0]
    instance.check_ledger()


@pytest.fixture
def forwarder(instance: Instance, tmp_path: Path) -> Path:
    """Return the program as HookHub serves it, alone in a folder."""
    answer = requests.get(f"{instance.url}/listen.py", timeout=LONG)
    assert answer.headers["Content-Type"] == "text/x-python; charset=utf-8"
    (tmp_path / "listen.py").write_bytes(answer.content)
    return tmp_path / "listen.py"


def started(forwarder: Path, instance: Instance, target: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start the program, in a folder without HookHub's packages."""
    environment = {"PATH": os.environ["PATH"], "HOOKHUB_URL": instance.url, "HOOKHUB_API_KEY": instance.key}
    return subprocess.Popen(
        [sys.executable, forwarder.name, "--forward", target, *arguments],
        cwd=forwarder.parent,
        env={**environment, "HOOKHUB_WEBHOOK_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_program_on_a_developers_machine_gets_what_it_would_get_from_outside(
    instance: Instance, forwarder: Path, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = [Answer(status=500), Answer(status=204)]
    instance.client.publish_batch([Event("push", {"n": 1})])
    instance.wait_until_settled()

    arguments = ("--since", "1h", "--format", "standard-webhooks", "--events", "push,tag_push", "--json")
    program = started(forwarder, instance, receiver.url("/hook"), *arguments)
    assert program.stdout is not None
    lines = [json.loads(program.stdout.readline())]
    instance.client.publish_batch([Event("push", {"n": 2}), Event("other", {"n": 3})])
    lines.append(json.loads(program.stdout.readline()))
    program.send_signal(signal.SIGINT)
    rest, told = program.communicate(timeout=LONG)

    received = [verify(each.body, each.headers, secrets=SECRET) for each in receiver.received]
    assert [each.data for each in received] == [{"n": 1}, {"n": 2}]
    assert rest == ""
    assert [(each["delivery"], each["answered"]) for each in lines] == [
        (received[0].id, "500"),
        (received[1].id, "204"),
    ]
    assert "2 events forwarded: 1 × 204, 1 × 500" in told
    assert program.returncode == 0
    assert instance.ask(WEBHOOKS) == 0


@pytest.mark.parametrize("renew_every", [timedelta(0), forwarding.RENEW_EVERY])
def test_a_webhook_that_is_gone_while_a_page_is_forwarded_loses_and_doubles_nothing(
    instance: Instance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, renew_every: timedelta
) -> None:
    monkeypatch.setattr(forwarding, "RENEW_EVERY", renew_every)
    monkeypatch.setattr(forwarding, "WAIT_SECONDS", 1)
    webhook = "SELECT uid::text FROM hookhub_webhook WHERE deleted_at IS NULL"

    def end_it_once(connection: socket.socket, request: Received) -> None:
        if len(receiver.received) == 1:
            instance.client.publish_batch([Event("push", {"n": 3})])
            instance.wait_until_settled()
            address = f"{instance.url}/v1/webhooks/{instance.ask(webhook)}"
            requests.delete(address, headers={"Authorization": f"Bearer {instance.key}"}, timeout=LONG)
        connection.sendall(Answer(headers={"Connection": "close"}).encode())

    receiver.script = end_it_once
    instance.client.publish_batch([Event("push", {"n": 1}), Event("push", {"n": 2})])
    instance.wait_until_settled()
    wanted = forwarding.Forwarding(
        instance.url, instance.key, receiver.url("/hook"), format="standard-webhooks", since=timedelta(hours=1)
    )
    shown: list[str] = []
    forwarder = forwarding.Forwarder(wanted, show=shown.append, tell=lambda _: None)
    thread = threading.Thread(target=forwarder.run)
    thread.start()
    try:
        wait_for(lambda: len(receiver.received) >= 3, "three events")
        instance.client.publish_batch([Event("push", {"n": 4})])
        wait_for(lambda: len(shown) >= 4, "the event of the other webhook")
    finally:
        forwarder.stop()
        thread.join(LONG)

    numbers = [json.loads(each.body)["data"]["n"] for each in receiver.received]
    assert sorted(numbers) == [1, 2, 3, 4]


# By the arguments of the program.
ERRORS = {
    ("--api-key", "hh_wrong"): "HookHub answered 401",
    ("--events", "no type"): "events",
    ("--since", "soon"): "'soon' is not a time such as 30s, 10m, 1h or 7d",
    ("--url", "localhost"): "--url must be a URL that begins with http:// or https://",
    ("--url", "http://127.0.0.1:9"): "connection refused",
}


def test_what_cannot_begin_says_why(instance: Instance, forwarder: Path) -> None:
    programs = {given: started(forwarder, instance, "http://127.0.0.1:9/", *given) for given in ERRORS}
    told = {given: program.communicate(timeout=LONG)[1] for given, program in programs.items()}

    assert [given for given, error in ERRORS.items() if error not in told[given] or "Traceback" in told[given]] == []
    assert {program.returncode for program in programs.values()} == {1}
    assert instance.ask(WEBHOOKS) == 0


PAGE = (ROOT / "docs" / "polling.md").read_text()
FETCH_LISTENER, CREATE = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
[CONSUMER] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_quick_starts_of_the_page_work_as_printed(instance: Instance, tmp_path: Path) -> None:
    environment = {**os.environ, "HOOKHUB_URL": instance.url, "HOOKHUB_API_KEY": instance.key, "NO_PROXY": "*"}

    def bash(text: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", text.replace("python3", sys.executable)]
        return subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    assert "--since" in bash(FETCH_LISTENER)
    bash(CREATE)
    (tmp_path / "consumer.py").write_text(CONSUMER)
    with subprocess.Popen(
        [sys.executable, "-u", "consumer.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as consumer:
        assert consumer.stdout is not None
        for number in range(2):
            instance.client.publish_batch([Event("push", {"n": number})])
            assert f'"n":{number}' in consumer.stdout.readline().replace(" ", "")
        consumer.kill()

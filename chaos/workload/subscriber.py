"""The subscribers of the fault harness: a process that subscribes, echoes, renews and unsubscribes, and logs it all.

`python -m chaos.workload.subscriber PLAN` waits for a message, begins a life of a subscription every now and then until
it gets another, and answers requests until its standard input is closed.
"""

import hmac
import json
import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import requests
from standardwebhooks import Webhook

from chaos.workload.lives import NATIVE, RATE, Life, Step, life
from chaos.workload.receiver import KEY, RESPONSES, read_head
from testbed.receiver import Connection, Receiver, response

TIMEOUT_SECONDS = 4.0
REPEAT_AFTER_SECONDS = 0.5
ECHOED_WITHIN_SECONDS = 30.0
# What a repeated request may be answered if the one before has taken effect.
DONE = frozenset({201, 202, 204, 404})


@dataclass(frozen=True)
class Plan:
    """Where the hub is, and which lives begin how often; serializable as JSON."""

    url: str
    key: str
    topic: str
    log: str
    seed: int
    every: float


class Subscriber(Receiver):
    """The callbacks of all lives. Of HookHub it knows only the hub and the API."""

    # One request at a time is sent to a host to verify callbacks, so a few hosts.
    hosts: ClassVar[tuple[str, ...]] = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.is_over = threading.Event()
        self.lives: dict[str, Life] = {}
        # The number of echoes of each path; a life waits for its next one.
        self.echoes: Counter[str] = Counter()
        self.echoed = threading.Condition()
        self.seen: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._log = os.open(plan.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def configure(self, message: dict[str, Any]) -> None:
        """Begin, at this port, or begin no more."""
        if message["is_over"]:
            self.is_over.set()
        else:
            threading.Thread(target=self.begin_lives, args=(message["port"],), daemon=True).start()

    def note(self, what: str, path: str, **details: object) -> None:
        """Log what happens; a single write in append mode, so that each line is complete."""
        line = {"what": what, "path": path, "at": time.time(), **details}
        os.write(self._log, json.dumps(line).encode() + b"\n")

    # Callbacks --------------------------------------------------------------------------------------------------------

    def handle(self, connection: Connection, head: bytes, body: bytes) -> None:
        """Consent to a rate, echo a challenge, or take an update."""
        target, headers = read_head(head)
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if head.startswith(b"OPTIONS"):
            self.take_handshake(connection, parts.path, headers["webhook-request-origin"])
        elif head.startswith(b"GET"):
            self.take_question(connection, parts.path, query.get("hub.mode", ""), query.get("hub.challenge", ""))
        elif b"webhook.verification" in body:
            self.take_question(connection, parts.path, "subscribe", str(json.loads(body)["challenge"]))
        else:
            self.take_update(connection, parts.path, headers, body)

    def take_question(self, connection: Connection, path: str, mode: str, challenge: str) -> None:
        """Log a challenge or a denial, and echo it unless the subscriber is mute."""
        one = self.lives.get(path)
        if mode == "denied" or one is None:
            self.note("denied", path, mode=mode)
            self.send(connection, RESPONSES["200"])
            return
        echoed = one.kind != "mute"
        self.note("question", path, mode=mode, echoed=echoed)
        self.send(connection, response("200 OK", challenge.encode() if echoed else b"ok"))
        if echoed:
            self.count_echo(path)

    def take_handshake(self, connection: Connection, path: str, origin: str) -> None:
        """Log a handshake, and consent to it."""
        self.note("question", path, mode="subscribe", echoed=True)
        granted = f"WebHook-Allowed-Origin: {origin}\r\nWebHook-Allowed-Rate: {RATE}\r\n"
        self.send(connection, f"HTTP/1.1 200 OK\r\n{granted}Content-Length: 0\r\n\r\n".encode())
        self.count_echo(path)

    def count_echo(self, path: str) -> None:
        """Let the life at a path take its next step."""
        with self.echoed:
            self.echoes[path] += 1
            self.echoed.notify_all()

    def take_update(self, connection: Connection, path: str, headers: dict[str, str], body: bytes) -> None:
        """Log an update and answer it; some are rejected at first."""
        key = KEY.search(body)
        name = key[1].decode(errors="backslashreplace") if key else ""
        one = self.lives.get(path)
        self.seen[path, name] += 1
        chance = random.Random(f"{self.plan.seed} {path} {name} {self.seen[path, name]}").random()
        answer = "500" if one is not None and chance < one.rejects and self.seen[path, name] < 4 else "200"
        signature = "unknown" if one is None else signed_with(one, headers, body)
        self.note("update", path, key=name, signature=signature, answer=answer)
        self.send(connection, RESPONSES[answer])

    # Lives ------------------------------------------------------------------------------------------------------------

    def begin_lives(self, port: int) -> None:
        """Begin one life after another, each on a thread of its own, until there are enough."""
        number = 0
        while not self.is_over.wait(self.plan.every):
            one = life(number, seed=self.plan.seed, hosts=self.hosts)
            self.lives[one.path] = one
            threading.Thread(target=self.lead, args=(one, f"http://{one.host}:{port}{one.path}"), daemon=True).start()
            number += 1

    def lead(self, one: Life, callback: str) -> None:
        """Take the steps of a life; leave the rest if the callback is not asked in time."""
        self.note("life", one.path, kind=one.kind)
        webhook = ""
        for step in one.steps:
            if self.is_over.wait(step.after):
                return
            before = self.echoes[one.path]
            details = {"secret": step.secret, "lease": step.lease}
            self.note("ask", one.path, mode=step.action, **details)
            if step.action == "delete":
                answer = self.delete(webhook or self.find(callback))
            elif one.kind in NATIVE:
                answer, webhook = self.create(one, step, callback)
            else:
                answer = self.ask_hub(one, step, callback)
            self.note("answer", one.path, mode=step.action, status=answer, **details)
            if answer not in DONE:
                return
            with self.echoed:
                if not self.echoed.wait_for(lambda: self.echoes[one.path] > before, ECHOED_WITHIN_SECONDS):  # noqa: B023 - used at once
                    return

    def ask_hub(self, one: Life, step: Step, callback: str) -> int:
        """Ask the hub without a key until it answers, as the request may be repeated; return the status, or 0."""
        form = {"hub.mode": step.action, "hub.topic": self.plan.topic, "hub.callback": callback}
        if step.action == "subscribe":
            form["hub.lease_seconds"] = str(step.lease)
            if step.secret is not None:
                form["hub.secret"] = one.secrets[step.secret]
        return self.repeat("POST", "/hub", data=form)

    def create(self, one: Life, step: Step, callback: str) -> tuple[int, str]:
        """Create a webhook by the API; return the status, 0 without an answer, and the id.

        The request is not repeated, which could create two.
        """
        secret = one.secrets[step.secret or 0]
        body = {"url": callback, "events": ["push"], "format": "standard-webhooks", "secret": secret}
        proof = "handshake" if one.kind == "paced" else "challenge"
        settings: dict[str, Any] = {"verify": proof, "auto_disable": False}
        if one.kind in {"native-brief", "paced"}:
            settings["expires_at"] = (datetime.now(UTC) + timedelta(seconds=step.lease)).isoformat()
        try:
            answer = self.request("POST", "/v1/webhooks", json=body | settings)
        except requests.RequestException:
            return 0, ""
        return answer.status_code, answer.json().get("id", "") if answer.ok else ""

    def find(self, callback: str) -> str:
        """Return the id of the webhook with a URL, or "" if it is not on the first page."""
        try:
            answer = self.request("GET", "/v1/webhooks", params={"limit": 100})
            rows = answer.json()["results"] if answer.ok else []
        except requests.RequestException:
            return ""
        return next((row["id"] for row in rows if row["url"] == callback), "")

    def delete(self, webhook: str) -> int:
        """Delete a webhook as its owner; return the status, or 0."""
        return self.repeat("DELETE", f"/v1/webhooks/{webhook}") if webhook else 0

    def repeat(self, method: str, path: str, **options: Any) -> int:
        """Send a request until it is answered; return the status, or 0 if it is not until the end."""
        while True:
            try:
                status = self.request(method, path, **options).status_code
            except requests.RequestException:
                status = 0
            if status and status < 500:
                return status
            if self.is_over.wait(REPEAT_AFTER_SECONDS):
                return 0

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request; the hub gets no key."""
        headers = {} if path == "/hub" else {"Authorization": f"Bearer {self.plan.key}"}
        return requests.request(method, self.plan.url + path, headers=headers, timeout=TIMEOUT_SECONDS, **options)


def signed_with(one: Life, headers: dict[str, str], body: bytes) -> str:
    """Return the number of the secret that an update is signed with, "none", or "invalid"."""
    if one.kind in NATIVE:
        return next(
            (str(number) for number, secret in enumerate(one.secrets) if is_valid(secret, headers, body)), "invalid"
        )
    given = headers.get("x-hub-signature")
    if given is None:
        return "none"
    digests = ["sha256=" + hmac.digest(secret.encode(), body, "sha256").hex() for secret in one.secrets]
    return str(digests.index(given)) if given in digests else "invalid"


def is_valid(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Return whether an independent verifier finds a signature of Standard Webhooks valid."""
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except Exception:  # noqa: BLE001 - any error of the verifier is its verdict.
        return False
    return True


if __name__ == "__main__":
    Subscriber(Plan(**json.loads(sys.argv[1]))).serve()

"""The receiver of the fault harness: a separate process that logs each request before it answers.

`python -m chaos.workload.receiver LOG` is configured with JSON objects with any of "secrets" (by path), "script",
"seed" and "begun_at".
"""

import hashlib
import json
import os
import re
import sys
import time
from collections import Counter
from functools import partial
from typing import Any

from standardwebhooks import Webhook

from chaos.workload.behaviour import SLOW_SECONDS, Script, answer_to, from_json
from testbed.receiver import Connection, Receiver, response

DRIP_EVERY_SECONDS = 0.2
RESPONSES = {
    "200": response("200 OK", b"ok"),
    "500": response("500 Internal Server Error", b"ok"),
    "410": response("410 Gone", b"ok"),
}
KEY = re.compile(rb'"k" ?: ?"([^"]+)"')


class ScriptedReceiver(Receiver):
    """Of HookHub it knows only the secrets, of the scenario only its script."""

    def __init__(self, log: int) -> None:
        super().__init__()
        self.log = log
        self.script: Script = {}
        self.verifiers: dict[str, Webhook] = {}
        self.seed = 0
        self.begun_at = time.time()
        self.seen: Counter[tuple[str, str]] = Counter()

    def configure(self, message: dict[str, Any]) -> None:
        """Store what the harness sent."""
        self.verifiers |= {path: Webhook(secret) for path, secret in message.get("secrets", {}).items()}
        self.script = from_json(message["script"]) if "script" in message else self.script
        self.seed = message.get("seed", self.seed)
        self.begun_at = message.get("begun_at", self.begun_at)

    def handle(self, connection: Connection, head: bytes, body: bytes) -> None:
        """Answer as the script says; a request that hangs is never answered."""
        path, headers = read_head(head)
        answer = self.take(path, headers, body)
        if answer in RESPONSES:
            self.send(connection, RESPONSES[answer])
        elif answer.startswith("slow"):
            late = RESPONSES[{"slow": "200", "slow-500": "500"}[answer]]
            self.later(SLOW_SECONDS, connection, partial(self.send, connection, late))
        elif answer == "reset":
            self.close(connection, with_reset=True)
        elif answer == "drip":
            self.send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            self.drip(connection)

    def drip(self, connection: Connection) -> None:
        """Send one byte now and one after another, until the client hangs up."""
        self.send(connection, b".")
        self.later(DRIP_EVERY_SECONDS, connection, partial(self.drip, connection))

    def take(self, path: str, headers: dict[str, str], body: bytes) -> str:
        """Log a request together with the answer it is going to get; return that answer."""
        at = time.time()
        delivery = headers.get("webhook-id", "")
        self.seen[path, delivery] += 1
        nth = self.seen[path, delivery]
        since = at - self.begun_at
        answer = answer_to(self.script, path, delivery=delivery, nth=nth, at=since, seed=self.seed)
        key = KEY.search(body)
        line = {
            "at": at,
            "path": path,
            "delivery": delivery,
            "key": key[1].decode(errors="backslashreplace") if key else "",
            "sha": hashlib.sha256(body).hexdigest(),
            "signature": self.verify(path, headers, body),
            "answer": answer,
            "headers": headers,
        }
        # A single write in append mode, so the line is complete even if the process is killed next.
        os.write(self.log, json.dumps(line).encode() + b"\n")
        return answer

    def verify(self, path: str, headers: dict[str, str], body: bytes) -> str:
        """Return the verdict on a signature, by an independent verifier."""
        verifier = self.verifiers.get(path)
        if verifier is None:
            return "unverified: no webhook has this path"
        try:
            # The body itself is checked elsewhere: its hash is compared with that of the published event.
            verifier.verify(body, headers, json_parse=False)
        except Exception as error:  # noqa: BLE001 - any error of the verifier is logged as its verdict.
            return f"invalid: {error!r}"
        return "valid"


def read_head(head: bytes) -> tuple[str, dict[str, str]]:
    """Return a request's path and headers, names in lower case; the path is empty where it cannot be parsed."""
    first, *lines = head.decode("latin-1").split("\r\n")
    named = (line.partition(":") for line in lines if line)
    return first.partition(" ")[2].partition(" ")[0], {name.lower(): value.strip() for name, _, value in named}


if __name__ == "__main__":
    ScriptedReceiver(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)).serve()
